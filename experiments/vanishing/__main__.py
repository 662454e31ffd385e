"""`python -m experiments.vanishing`."""

from experiments.common import errors, study
from experiments.vanishing import STUDY

errors.run(lambda: study.run(STUDY))
