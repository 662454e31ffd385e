"""Equality of the gradient on one device and on several, with the batch split over them by `shard_map`.

Each device sees its share of the batch, and what has no batch is on all: the shares of its cotangent are
summed. The reference must do the same on several devices as on one, or the examples of a batch are not
independent and nothing can be asked of the hand-written side.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.findings import Finding
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points import batches
from jax_ref.verify.points.point import Point, cotangent
from jax_ref.verify.program.raised import told
from jax_ref.verify.session import Session
from jax_ref.verify.structure import match
from jax_ref.verify.trees import dtype_of, is_floating

AXIS = "batch"

EACH = 2
"""Examples on each device."""

ULPS = 64
"""Units in the last place that sums over devices may be off by, beside four times what the reference is."""

Run = Callable[[tuple[PyTree, ...], PyTree], dict[str, Any]]
"""From arguments and a cotangent of the output to the cotangents by path."""


def violations(session: Session, point: Point) -> list[Finding]:
    """What differs between one device and all there are; nothing where there is one, or no batch."""
    subject, reference, count = session.subject, session.sides.reference, jax.device_count()
    batched = batches.group(subject.reference, point.args)
    if count < 2 or not batched or not all(map(is_floating, jax.tree.leaves(point.d_output))):
        return []
    args = batches.at_size(point.args, batched, EACH * count, session.rng)
    is_split = {path: i in batched for i, path in enumerate(reference.leaves(args))}
    rtol = session.options.rtol

    def is_far(path: str, pair: tuple[np.ndarray, np.ndarray], own: float) -> bool:
        dtype = dtype_of(reference.leaves(args)[path])
        return not tolerance.distance(*pair) <= _allowed(pair[0], own, dtype, rtol)

    def by_autodiff(args: tuple[PyTree, ...], d_output: PyTree) -> dict[str, Any]:
        return reference.differentiated(args, d_output)[1]

    def by_hand(args: tuple[PyTree, ...], d_output: PyTree) -> dict[str, Any]:
        return match(args, subject.run(args, d_output)[1], session.names).right

    with x64_for((args, point.d_output)):
        d_output = cotangent(jax.eval_shape(subject.reference, *args), session.rng)
        of_reference = _both(by_autodiff, args, d_output, is_split)
        own = {path: tolerance.distance(*pair) for path, pair in of_reference.items()}
        if any(is_far(path, pair, 0.0) for path, pair in of_reference.items()):
            session.notes.append(
                f"not tried: devices: the reference's own gradient is another on {count} devices: has it a "
                "statistic over the batch?"
            )
            return []
        try:
            found = _both(by_hand, args, d_output, is_split)
        except Exception as error:  # the user's code may raise anything
            return [
                Finding("transform", "", f"raises under shard_map over {count} devices: {told(error)}", args)
            ]
    session.transforms.append(f"{count} devices")
    return [
        Finding(
            "transform", path, f"it differs on {count} devices, by shard_map over the batch, and on one", args
        )
        for path, pair in found.items()
        if is_far(path, pair, own[path])
    ]


def _both(
    run: Run, args: tuple[PyTree, ...], d_output: PyTree, is_split: dict[str, bool]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The cotangents on one device and on all, by path; `is_split` says which leaves have the batch."""
    specs = jax.tree.unflatten(jax.tree.structure(args), [_spec(split) for split in is_split.values()])
    one = jax.jit(run)(args, d_output)

    def local(args: tuple[PyTree, ...], d_output: PyTree) -> dict[str, Any]:
        found = run(args, d_output)
        return {p: x if is_split[p] else jax.lax.psum(x, AXIS) for p, x in found.items()}

    mapped = jax.shard_map(
        local,
        mesh=jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,)),
        in_specs=(specs, P(AXIS)),
        out_specs={path: _spec(is_split[path]) for path in one},
        check_vma=False,
    )
    several = jax.jit(mapped)(args, d_output)
    return {p: (np.asarray(one[p], np.float64), np.asarray(several[p], np.float64)) for p in one}


def _spec(split: bool) -> P:
    return P(AXIS) if split else P()


def _allowed(one: np.ndarray, own: float, dtype: Any, rtol: float) -> float:
    """How far the results may be apart where those of the reference are `own`."""
    return 4 * own + max(ULPS * float(jnp.finfo(dtype).eps), rtol) * max(tolerance.size(one), 1.0)
