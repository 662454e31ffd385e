"""`python -m experiments.step_size`."""

from experiments.common import errors, study
from experiments.step_size import STUDY

errors.run(lambda: study.run(STUDY))
