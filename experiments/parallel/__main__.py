"""`python -m experiments.parallel`."""

from experiments.common import errors, study
from experiments.parallel import STUDY

errors.run(lambda: study.run(STUDY))
