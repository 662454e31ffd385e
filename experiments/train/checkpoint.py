"""Checkpoints of a run, kept by Orbax: written beside the last one and renamed when complete."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from experiments.common.errors import UserError

absl_logging.set_verbosity(absl_logging.FATAL)  # errors are told in a sentence of ours


class Checkpoints:
    """The checkpoints in `folder`: the settings that made them, the history so far, and the states."""

    def __init__(self, folder: Path) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, epoch: int, states: Any, record: dict[str, Any]) -> None:
        """Keep the arrays of `states` and the JSON values of `record` as those after `epoch`."""
        args = ocp.args.Composite(states=ocp.args.StandardSave(states), record=ocp.args.JsonSave(record))
        self._manager.save(epoch, args=args)

    def latest(self) -> int | None:
        """The last complete checkpoint's epoch."""
        return self._manager.latest_step()

    def record(self) -> dict[str, Any]:
        """The record of the last checkpoint."""
        args = ocp.args.Composite(record=ocp.args.JsonRestore())
        return self._restore(args).record

    def states(self, like: Any) -> Any:
        """The states of the last checkpoint, in the shapes and dtypes of `like`."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._restore(ocp.args.Composite(states=ocp.args.StandardRestore(abstract))).states

    def _restore(self, args: ocp.args.Composite) -> Any:
        try:
            return self._manager.restore(self.latest(), args=args)
        except Exception as error:  # whatever the storage below raises
            first = str(error).strip().splitlines()[0]
            raise UserError(f"The checkpoint in {self._manager.directory} cannot be read: {first}") from None

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()
