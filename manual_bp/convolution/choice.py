"""Which form of a convolution is for which machine."""

import math
from functools import partial
from types import ModuleType

from jax import lax
from jaxtyping import Array

from manual_bp.convolution import by_groups, by_shifts, by_xla
from manual_bp.sharding import like
from manual_bp.windows import Axis


def output(w: Array, x: Array, axes: tuple[Axis, ...], groups: int) -> Array:
    """y (B, *P, O) in at least float32."""
    return _run("output", (w, x), axes, groups)


def kernel_gradient(w: Array, x: Array, dy: Array, axes: tuple[Axis, ...], groups: int) -> Array:
    """dw (*K, J, O) in at least float32."""
    return _run("kernel_gradient", (w, x, dy), axes, groups)


def input_gradient(w: Array, x: Array, dy: Array, axes: tuple[Axis, ...], groups: int) -> Array:
    """dx (B, *S, I) in at least float32."""
    return _run("input_gradient", (w, x, dy), axes, groups)


def _run(name: str, arrays: tuple[Array, ...], axes: tuple[Axis, ...], groups: int) -> Array:
    """The function of that name; on an explicit mesh XLA's convolution, as the others do not say layouts."""
    options = {"axes": axes, "groups": groups}
    general = getattr(by_xla, name)
    special = getattr(on_cpu(arrays[0], groups), name)
    if special is general or any(like(a) is not None for a in arrays):
        return general(*arrays, **options)
    return lax.platform_dependent(
        *arrays, cpu=partial(special, **options), default=partial(general, **options)
    )


def on_cpu(w: Array, groups: int) -> ModuleType:
    """The form for a kernel (*K, J, O) on a CPU."""
    if groups == 1:
        return by_xla
    is_depthwise = w.shape[-2] == 1 and math.prod(w.shape[:-2]) <= by_shifts.ENTRIES
    return by_shifts if is_depthwise else by_groups
