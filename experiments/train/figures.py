"""Figures of a run: what `metrics.json` holds."""

import dataclasses
import math
from statistics import median
from typing import Any

import jax

from experiments.common import run_folder
from experiments.train import speed
from experiments.train.history import Records
from experiments.train.lockstep import Lockstep


def of(
    both: Lockstep, records: Records, diverged: dict[str, Any] | None, interrupted: bool
) -> dict[str, Any]:
    """The figures of the rounds that were kept and, at the end of the history, of one that diverged.

    The speed is the median of the rounds after the first, in which memory and caches are still cold. The
    figures of the engines are those of the last round that was kept, or of the first if that diverged.
    """
    history = records if diverged is None else [*records, diverged]
    last = (records or history)[-1]
    speeds = {
        name: median(r["engines"][name]["us_per_step"] for r in history[1:] or history)
        for name in last["engines"]
    }
    peak = speed.peak_for(both.recipe, both.settings.dtype)
    return {
        "settings": run_folder.jsonable(dataclasses.asdict(both.settings)),
        "parts": both.parts,
        "engines": {
            name: figures
            | {"us_per_step": speeds[name], "compile_s": both.compile_s[name]}
            | speed.of(both.recipe, speeds[name], peak)
            for name, figures in last["engines"].items()
        },
        "max_gradient_difference": max(
            (d for r in records or history for d in r["gradient_difference"] or []), default=None
        ),
        "parameter_distance": last["parameter_distance"],
        "baselines": both.recipe.baselines,
        "epochs_done": len(records),
        "interrupted": interrupted,
        "diverged": None if diverged is None else diverged["epoch"],
        "jax": jax.__version__,
        "history": history,
    }


def finite(content: Any) -> Any:
    """The content with null where a number is not finite, for which JSON has no word."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
