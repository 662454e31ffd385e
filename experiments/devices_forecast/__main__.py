"""`python -m experiments.devices_forecast`."""

from experiments.common import errors, study
from experiments.devices_forecast import STUDY

errors.run(lambda: study.run(STUDY))
