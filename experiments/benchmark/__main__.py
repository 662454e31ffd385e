"""`python -m experiments.benchmark`."""

from experiments.benchmark import command
from experiments.common import errors

errors.run(command.main)
