"""`python -m experiments.mistakes`."""

from experiments.common import errors, study
from experiments.mistakes import STUDY

errors.run(lambda: study.run(STUDY))
