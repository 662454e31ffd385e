"""`python -m experiments.train`."""

from experiments.common import errors
from experiments.train import job

errors.run(job.main)
