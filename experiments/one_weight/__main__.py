"""`python -m experiments.one_weight`."""

from experiments.common import errors, study
from experiments.one_weight import STUDY

errors.run(lambda: study.run(STUDY))
