"""`python -m experiments.parallel`."""

from experiments.common import errors, study, team
from experiments.parallel import STUDY, measure, worker


def main() -> int:
    """Run the study, with others if several have been started; then the first shows the figures."""
    settings = study.parse(STUDY)
    place = measure.place(settings)
    if place is None:
        return study.run(STUDY)

    def with_others() -> int:
        worker.join(place, settings.devices_per_process)
        if team.is_first():
            return study.run(STUDY)
        measure.measure(settings)
        return 0

    return team.ended(with_others)


errors.run(main)
