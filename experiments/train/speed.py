"""Speed of a run in what its model counts, and as a share of this machine's matrix-multiply peak."""

from typing import Any

from experiments.common import timing
from experiments.train.recipe import Recipe

ROUNDS = 5
"""Products of each size that the peak is the fastest of."""


def peak_for(recipe: Recipe, dtype: str) -> float | None:
    """The machine's peak in float32, measured now, where the recipe says what a step multiplies."""
    return timing.matmul_peak(ROUNDS) if recipe.work is not None and dtype == "float32" else None


def of(recipe: Recipe, us_per_step: float, peak: float | None) -> dict[str, float]:
    """The figures of an engine, with what they count in their names."""
    if recipe.work is None:
        return {}
    per_second = 1e6 / us_per_step
    found = {f"{recipe.work.unit}_per_second": recipe.work.units * per_second}
    return found if peak is None else found | {"matmul_share": recipe.work.matmul_flops * per_second / peak}


def said(figures: dict[str, Any]) -> list[str]:
    """The same in words."""
    found = [
        f"{value:,.0f} {name.removesuffix('_per_second')} per second"
        for name, value in figures.items()
        if name.endswith("_per_second")
    ]
    if "matmul_share" in figures:
        found.append(f"{figures['matmul_share']:.0%} of the machine's matrix-multiply peak")
    return found
