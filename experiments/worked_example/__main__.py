"""`python -m experiments.worked_example`."""

from experiments.common import errors
from experiments.worked_example import command

errors.run(command.main)
