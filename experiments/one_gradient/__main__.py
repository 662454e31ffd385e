"""`python -m experiments.one_gradient`."""

from experiments.common import errors, study
from experiments.one_gradient import STUDY

errors.run(lambda: study.run(STUDY))
