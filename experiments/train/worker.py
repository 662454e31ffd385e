"""One of the processes that the main job starts on this machine: `python -m experiments.train.worker ...`.

It takes the options of the main job, which have where the processes meet and which of them this is.
"""

from experiments.common import errors, processes
from experiments.train import job

processes.end_with_the_launcher()
errors.run(lambda: job.main(launched=True))
