"""`python -m experiments.real_gpt2`."""

from experiments.common import errors, study
from experiments.real_gpt2 import STUDY

errors.run(lambda: study.run(STUDY))
