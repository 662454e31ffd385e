"""`python -m experiments.exercise`."""

from experiments.common import errors
from experiments.exercise import command

errors.run(command.main)
