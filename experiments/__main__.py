"""`python -m experiments`."""

from experiments.common import commands, errors

errors.run(commands.main)
