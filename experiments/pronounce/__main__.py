"""`python -m experiments.pronounce`."""

from experiments.common import errors
from experiments.pronounce import command

errors.run(command.main)
