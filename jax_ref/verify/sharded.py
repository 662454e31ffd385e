"""Gradients over the devices of a mesh: what each shard has, against its part of the oracle's on one device.

`shard_map` returns of a replicated value the copy of one shard, and so hides what the others have. Here each
shard's own is looked at: its output, and its cotangents before anything puts them together. What the right
ones are, the reference of the whole arguments says, in float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from jax_ref.verify import structure, subject
from jax_ref.verify.comparison import tolerance
from jax_ref.verify.diagnosis import shards as diagnosis
from jax_ref.verify.diagnosis.shards import Shards, axes_of, cut
from jax_ref.verify.findings import Finding, Leaf, Report
from jax_ref.verify.oracle import value_and_vjp, wide
from jax_ref.verify.points.inputs import redraw
from jax_ref.verify.points.point import cotangent
from jax_ref.verify.program.raised import told
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import dtype_of, floats, is_floating, labelled, widened

Args = tuple[PyTree, ...]

OUTPUT = "output"
"""The path of the output in a report."""


def check_sharded(
    op: Any,
    *args: PyTree,
    mesh: Mesh,
    in_specs: Any,
    out_specs: Any,
    reference: Callable[..., PyTree],
    check_vma: bool = True,
    seed: int = 0,
    **static: Any,
) -> Report:
    """Check a gradient that is computed inside of `jax.shard_map`, on every device of a mesh.

    `op` has `fwd([params,] *inputs, **static)` and `bwd([params,] residuals, d_output, **static)`, or it is a
    function `op(params, *data, **static) -> (loss, gradients)`. Either is called inside of `shard_map`, with
    each device's parts of `args`. `args` are whole, and `in_specs` and `out_specs` are those of `shard_map`,
    without the gradients, which lie as what they belong to. `reference(*args)` is a plain function of the
    whole arguments, and returns the output, or the loss.

    A cotangent must be right on each shard: where an argument is replicated, the sum over all shards that it
    has a share in. So must the output. It is tried at `args` and at values drawn anew, in float64.
    """
    what = _subject(op, reference, static)
    mesh = Mesh(mesh.devices, mesh.axis_names)  # on an explicit one arguments would have to be laid out
    specs = _Specs(mesh, _spread(in_specs, args, "in_specs", "args"), out_specs)
    names = what.names(len(args))
    rng = np.random.default_rng(seed)
    with wide():
        given = widened(jax.tree.map(np.asarray, args))
        _check_divides(labelled(given, names), labelled(specs.args, names, is_leaf=_is_spec), mesh)
        points = [("example", given), ("drawn anew", redraw(given, "ordinary", rng))]
        compared, problems = _looked_at(what, points, specs, check_vma, rng)
        notes = _other_setting(what, points, specs, check_vma, rng) if _is_wrong(compared) or problems else ()
        findings = problems + _findings(what, compared)
    sizes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    return Report(
        what.name,
        tuple(_row(path, seen) for path, seen in _by_path(compared).items()),
        tuple(findings),
        (),
        notes,
        (),
        f"float64, on a mesh of {sizes}, with check_vma={check_vma}; {' and '.join(n for n, _ in points)}",
    )


class _Specs(NamedTuple):
    """The mesh, and how the arguments and the output lie on it."""

    mesh: Mesh
    args: Any
    output: Any


class Compared(NamedTuple):
    """A leaf at a point: what the shards have, where it is, and how far off it may be."""

    path: str
    shards: Shards
    where: str
    args: Args
    bound: float

    @property
    def errors(self) -> np.ndarray:
        """The distance from its part of the oracle's, for each device of the mesh."""
        found = np.empty(self.shards.mesh_shape)
        for at in np.ndindex(*found.shape):
            found[at] = tolerance.distance(self.shards.found[at], self.shards.right[at])
        return found

    @property
    def is_wrong(self) -> bool:
        """Whether a shard is further off than it may be, or not finite where the oracle is."""
        return not np.all(self.errors <= self.bound)


def _subject(op: Any, reference: Any, static: dict[str, Any]) -> Subject:
    if hasattr(op, "fwd") and hasattr(op, "bwd"):
        return subject.of_op(op, None, **static)._replace(reference=reference, own_forward=False)
    if not callable(op):
        raise TypeError(
            f"check_sharded: op was {op!r}; expected fwd and bwd, or a function (loss, gradients)"
        )

    def value_and_grad(*args: PyTree) -> Any:
        return op(*args, **static)

    found = subject.of_value_and_grad(value_and_grad, reference)
    return found._replace(name=subject.name_of(op, "a function"))


def _looked_at(
    what: Subject, points: list[tuple[str, Args]], specs: _Specs, check_vma: bool, rng: np.random.Generator
) -> tuple[list[Compared], list[Finding]]:
    """The leaves at each point; and what raises, or has another structure than its argument."""
    mesh, names = specs.mesh, what.names(len(points[0][1]))
    findings: list[Finding] = []
    output = jax.eval_shape(what.reference, *points[0][1])
    out_specs = _spread(specs.output, output, "out_specs", "the reference's output")

    def local(args: Args, d_output: PyTree) -> PyTree:
        found, cotangents = what.run(args, d_output)
        matched = structure.match(args, cotangents, names)
        findings[:] = matched.findings
        leaves = labelled((found,), (OUTPUT,)) | matched.right
        return jax.tree.map(lambda x: x[None], {k: x for k, x in leaves.items() if is_floating(x)})

    every = P(tuple(mesh.axis_names))  # each device's own, one after the other
    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=(specs.args, out_specs), out_specs=every, check_vma=check_vma
    )
    by_hand, oracle = jax.jit(mapped), jax.jit(lambda *x: value_and_vjp(what.reference, *x))
    compared: list[Compared] = []
    spec_of = labelled((out_specs, *specs.args), (OUTPUT, *names), is_leaf=_is_spec)
    for where, args in points:
        d_output = cotangent(output, rng)
        right, cotangents = oracle(args, d_output)
        wanted = labelled((right, *cotangents), (OUTPUT, *names))
        if not all(np.all(np.isfinite(x)) for x in floats(wanted)):
            continue  # drawn outside of where the reference has a gradient
        try:
            found = by_hand(args, d_output)
        except Exception as error:  # the user's code may raise anything
            return [], [Finding("raises", "", f"raises in shard_map: {told(error)}", args)]
        largest = max((float(np.max(np.abs(x), initial=0)) for x in floats(args)), default=1.0)
        flat = np.concatenate([np.ravel(d) for d in floats(d_output)])
        for path in filter(found.__contains__, wanted):
            of_devices = found[path]
            parts = np.asarray(of_devices).reshape(*mesh.devices.shape, *of_devices.shape[1:])
            whole = np.asarray(wanted[path])
            expected = cut(whole, spec_of[path], mesh)
            if parts.shape != expected.shape:
                findings.append(_of_shape(path, parts, expected, mesh))
                continue
            shards = Shards(parts, expected, tuple(mesh.axis_names), axes_of(spec_of[path]))
            compared.append(Compared(path, shards, where, args, tolerance.bound64(whole, flat, largest)))
    return compared, list(findings)


def _of_shape(path: str, found: np.ndarray, expected: np.ndarray, mesh: Mesh) -> Finding:
    shape, wanted = found.shape[mesh.devices.ndim :], expected.shape[mesh.devices.ndim :]
    return Finding("structure", path, f"it has shape {shape} on a shard; expected {wanted}")


def _is_wrong(compared: list[Compared]) -> bool:
    return any(c.is_wrong or diagnosis.differing_copies(c.shards) for c in compared)


def _findings(what: Subject, compared: list[Compared]) -> list[Finding]:
    """A finding for each leaf that is wrong somewhere, by values drawn anew if it is wrong there."""
    found = []
    for path, seen in _by_path(compared).items():
        wrong = [c for c in seen if c.is_wrong]
        if wrong:
            c = wrong[-1]
            others = _by_other_arguments(what, c) if path.startswith(OUTPUT) else {}
            kind, text = diagnosis.explained(c.shards, c.bound, others)
            kind = "forward" if path.startswith(OUTPUT) else kind
            found.append(Finding(kind, path, f"{text} (at {c.where}, error {np.max(c.errors):.1e})", c.args))
            continue
        drifting = {axis: None for c in seen for axis in diagnosis.differing_copies(c.shards)}
        if drifting:
            text = (
                f"its copies along {diagnosis.listed(list(drifting))} are right, and not the same to the "
                "last bit: they drift apart in training"
            )
            found.append(Finding("copies", path, text, seen[0].args))
    return found


def _by_other_arguments(what: Subject, c: Compared) -> dict[str, np.ndarray]:
    """By a sentence: each shard's part of the output as it would be with a leaf counted n times."""
    names, mesh_axes = what.names(len(c.args)), dict(zip(c.shards.names, c.shards.mesh_shape, strict=True))
    reference = jax.jit(what.reference)
    found = {}
    for path, leaf in labelled(c.args, names).items():
        if not is_floating(leaf):
            continue
        for axis, n in mesh_axes.items():
            for factor, told_ in ((n, "is added"), (n**0.5, "counts, as in a sum of squares,")):
                args = _with(c.args, names, path, factor * leaf)
                output = labelled((reference(*args),), (OUTPUT,))[c.path]
                if np.shape(output) != np.shape(c.shards.right[(0,) * len(mesh_axes)]):
                    continue  # it is split, and so is its part
                text = f"{path} {told_} on each of the {n} shards of mesh axis {axis!r}, in place of once"
                found[text] = np.broadcast_to(np.asarray(output), c.shards.right.shape)
    return found


def _with(args: Args, names: tuple[str, ...], path: str, leaf: Any) -> Args:
    leaves, tree = jax.tree.flatten(args)
    leaves[list(labelled(args, names)).index(path)] = leaf
    return jax.tree.unflatten(tree, leaves)


def _other_setting(
    what: Subject, points: list[tuple[str, Args]], specs: _Specs, check_vma: bool, rng: np.random.Generator
) -> tuple[str, ...]:
    """A note if all is right with the other `check_vma`, as with `jax.grad` inside of `shard_map`."""
    compared, problems = _looked_at(what, points, specs, not check_vma, rng)
    if problems or not compared or _is_wrong(compared):
        return ()
    sums = "is summed over the shards by JAX" if check_vma else "is one shard's share, for you to sum"
    return (
        f"with check_vma={not check_vma} it is right: a gradient by a replicated argument, taken inside of "
        f"shard_map, {sums} with check_vma={check_vma}",
    )


def _by_path(compared: list[Compared]) -> dict[str, list[Compared]]:
    found: dict[str, list[Compared]] = {}
    for c in compared:
        found.setdefault(c.path, []).append(c)
    return found


def _row(path: str, seen: list[Compared]) -> Leaf:
    worst = max(seen, key=lambda c: float(np.max(c.errors)) / c.bound if c.bound else float(np.max(c.errors)))
    errors = worst.errors
    at = np.unravel_index(np.argmax(errors), errors.shape)
    place = ", ".join(f"{name} {i}" for name, i in zip(worst.shards.names, at, strict=True))
    verdict = "wrong" if any(c.is_wrong for c in seen) else "right"
    shape = worst.shards.right.shape[errors.ndim :]
    where = f"{worst.where}, shard {place}"
    return Leaf(path, shape, "float64", float(np.max(errors)), worst.bound, verdict, where)


def _is_spec(x: Any) -> bool:
    return isinstance(x, P)


def _spread(specs: Any, tree: Any, name: str, of: str) -> Any:
    """A spec for each leaf of a tree, as `shard_map` takes one for a whole branch."""
    try:
        return jax.tree.broadcast(specs, tree, is_leaf=_is_spec)
    except ValueError as error:
        raise ValueError(f"check_sharded: {name} do not fit {of}: {error}") from None


def _check_divides(leaves: dict[str, Any], specs: dict[str, P], mesh: Mesh) -> None:
    for path, leaf in leaves.items():
        for dim, length in enumerate(np.shape(leaf)):
            n = int(np.prod([mesh.shape[a] for a in axes_of(P(*specs[path][dim : dim + 1]))], dtype=int))
            if length % n:
                raise ValueError(
                    f"check_sharded: {path} has shape {np.shape(leaf)} and spec {specs[path]}; expected "
                    f"{length} to divide by {n}"
                )
    if not any(is_floating(leaf) for leaf in leaves.values()):
        dtypes = sorted({str(dtype_of(leaf)) for leaf in leaves.values()})
        raise TypeError(f"check_sharded: args have dtypes {dtypes}; expected one of floating point")
