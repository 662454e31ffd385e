"""`python -m experiments.parallel_benchmark`."""

from experiments.common import errors, study
from experiments.parallel_benchmark import STUDY

errors.run(lambda: study.run(STUDY))
