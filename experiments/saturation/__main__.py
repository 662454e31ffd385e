"""`python -m experiments.saturation`."""

from experiments.common import errors, study
from experiments.saturation import STUDY

errors.run(lambda: study.run(STUDY))
