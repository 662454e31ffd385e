"""Going on with a run: the states and the history of the last checkpoint that is what it was."""

import json
import sys
from typing import Any

from experiments.common import team
from experiments.common.errors import UserError
from experiments.train.checkpoint import Checkpoints, DamagedError
from experiments.train.history import History, Records
from experiments.train.lockstep import Lockstep


def resumed(both: Lockstep, checkpoints: Checkpoints, history: History) -> Records:
    """Put the states of the last good checkpoint in place and return the rounds before it."""
    damages = []
    for number in checkpoints.numbers():
        try:
            record = checkpoints.record(number)
            check(both, record)
            states = checkpoints.states(number, both.states, record)
            records = _rounds(history, record)
        except DamagedError as damage:
            damages.append(f"{checkpoints.folder / str(number)} is damaged ({damage})")
            continue
        if damages and team.is_first():
            print(f"{'; '.join(damages)}; going on from {both.settings.unit} {number}.", file=sys.stderr)
        both.states = {name: states[name] for name in both.states}  # JAX has sorted them
        return records
    found = "; ".join(damages) or f"{checkpoints.folder} has none"
    raise UserError(f"There is no complete checkpoint to resume from: {found}.")


def check(both: Lockstep, record: dict[str, Any]) -> None:
    """Raise `UserError` unless the checkpoint is of the settings of now."""
    now, then = json.loads(json.dumps(both.fingerprint())), record["fingerprint"]
    for name in sorted(now.keys() | then.keys()):
        if name not in now:
            raise UserError(
                f"The checkpoint is of other settings: its {name}, {then[name]}, is unknown here."
            )
        if name not in then:
            raise UserError(
                f"The checkpoint is of other settings: it has no {name}, which is {now[name]} now."
            )
        if now[name] != then[name]:
            raise UserError(
                f"The checkpoint is of other settings: its {name} was {then[name]}, now it is {now[name]}."
            )
    if record["number"] > both.settings.epochs:
        raise UserError(
            f"--epochs was {both.settings.epochs}; the checkpoint has {record['number']} "
            f"{both.settings.unit}s already."
        )


def _rounds(history: History, record: dict[str, Any]) -> Records:
    try:
        return history.go_back_to(record["history"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{error}") from None
