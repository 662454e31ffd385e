"""`python -m experiments.through_time`."""

from experiments.common import errors, study
from experiments.through_time import STUDY

errors.run(lambda: study.run(STUDY))
