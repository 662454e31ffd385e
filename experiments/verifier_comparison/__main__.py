"""`python -m experiments.verifier_comparison`."""

from experiments.common import errors, study
from experiments.verifier_comparison import STUDY

errors.run(lambda: study.run(STUDY))
