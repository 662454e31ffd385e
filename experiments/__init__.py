"""Commands that train and measure: `python -m experiments` lists them with their questions."""

import sys

if sys.argv[0] == "-m":  # Python is still looking for the command, whose imports take seconds
    from experiments.common import extras, interruption

    interruption.install()
    extras.demand()
