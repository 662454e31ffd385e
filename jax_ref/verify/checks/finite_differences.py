"""Richardson-extrapolated finite differences with step selection, and detection of kinks."""

from collections.abc import Callable

import numpy as np

STEPS = tuple(2.0**-k for k in range(4, 17))

BEND = 3
"""The step whose second difference is compared with that four steps on: if smooth, that is 1/16 of it."""

JUMP = 1000
"""The least jump of the slope that counts as a kink, in multiples of its rounding error."""

ROUNDING = 1e-14
"""Relative error of a value of the reference, generously."""


def slope(value: Callable[[float], float], size: float) -> tuple[float, float]:
    """The derivative of `value` at 0, and an estimate of its error; `size` is that of the terms in a value.

    D(h) is the central difference; of (4 D(h/2) - D(h))/3 for a row of halved steps that one is taken whose
    neighbours in the row differ from it the least, and the estimate is how far they do. It is infinite at a
    kink, where the slopes to both sides stay apart as the step shrinks: of a single kink they do so from step
    to step; of a few among many smooth terms (ties in some of many maxima) their difference, extrapolated to
    a step of zero, is not zero.
    """
    above, below = (np.array([value(sign * h) for h in STEPS]) for sign in (1, -1))
    steps, rounding = np.array(STEPS), ROUNDING * size
    bends = (above - 2 * value(0.0) + below) / steps
    alone = np.abs(bends[BEND + 4]) > 0.3 * np.abs(bends[BEND]) + rounding / STEPS[BEND + 4]
    jump = 2 * bends[-1] - bends[-2]  # of a smooth function these halve with the step, and cancel
    if alone or abs(jump) > JUMP * rounding / STEPS[-1]:
        return float("nan"), float("inf")
    central = (above - below) / (2 * steps)
    extrapolated = (4 * central[1:] - central[:-1]) / 3
    jumps = np.abs(np.diff(extrapolated))
    jumps = np.where(np.isfinite(jumps), jumps, np.inf)
    best = int(np.argmin(np.maximum(jumps[1:], jumps[:-1])))
    return float(extrapolated[best + 1]), float(np.max(jumps[best : best + 2])) + rounding / STEPS[best]
