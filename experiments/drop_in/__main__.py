"""`python -m experiments.drop_in`."""

from experiments.common import errors, study
from experiments.drop_in import STUDY

errors.run(lambda: study.run(STUDY))
