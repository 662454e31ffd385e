"""What the shards of a value have in place of their parts of the right one.

Each explanation is a value that the shards would have, made from the right one, or something that what they
have shows when it is put together in another way.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P


class Shards(NamedTuple):
    """What is on each device of a mesh, its axes first: found, and right.

    `names` are those of the mesh axes, and `split` those over which it is split.
    """

    found: np.ndarray
    right: np.ndarray
    names: tuple[str, ...]
    split: frozenset[str]

    @property
    def mesh_shape(self) -> tuple[int, ...]:
        """The sizes of the mesh axes."""
        return self.found.shape[: len(self.names)]

    def size(self, axes: tuple[str, ...]) -> int:
        """How many shards there are along mesh axes."""
        return int(np.prod([self.mesh_shape[self.names.index(a)] for a in axes], dtype=int))

    def some(self, among: Iterator[str] | None = None) -> Iterator[tuple[str, ...]]:
        """The sets of mesh axes with several shards along them, smallest first."""
        able = [a for a in (self.names if among is None else among) if self.size((a,)) > 1]
        for count in range(1, len(able) + 1):
            yield from itertools.combinations(able, count)

    def dims(self, axes: tuple[str, ...]) -> tuple[int, ...]:
        """The dimensions that mesh axes have in the arrays."""
        return tuple(self.names.index(a) for a in axes)

    def replicated(self) -> Iterator[str]:
        """The mesh axes along which all shards should have the same."""
        return (a for a in self.names if a not in self.split)


Agree = Callable[..., bool]
"""Whether two arrays are the same on each shard, within a bound times a number."""

Told = tuple[str, str]
"""A kind, of `findings.KINDS`, and a sentence."""


def explained(shards: Shards, bound: float, others: Mapping[str, np.ndarray]) -> Told:
    """The first explanation that holds within a bound on each shard; `others` are predictions by sentence."""
    close = bound if bound > 0 else 1e-300

    def agree(a: np.ndarray, b: np.ndarray, times: float = 1.0) -> bool:
        a, b = np.broadcast_arrays(a, b)
        rest = tuple(range(len(shards.names), a.ndim))
        with np.errstate(invalid="ignore", over="ignore"):
            return bool(np.all(np.sqrt(np.sum(np.square(a - b), rest)) <= times * close))

    for text, predicted in others.items():
        if agree(shards.found, predicted, 10):
            return "forward", text
    for generator in (_not_finite, _factor, _not_summed, _elsewhere, _first_alone, _copies):
        for told in generator(shards, agree):
            return told
    wrong = [at for at in np.ndindex(*shards.mesh_shape) if not agree(shards.found[at], shards.right[at])]
    of_all = (
        "all shards" if len(wrong) == shards.size(shards.names) else f"the shards {_places(shards, wrong)}"
    )
    return "gradient", f"it is not the reference's on {of_all}"


def differing_copies(shards: Shards) -> list[str]:
    """The mesh axes along which what should be the same differs, in a bit or more."""
    found = []
    for axis in shards.replicated():
        (dim,) = shards.dims((axis,))
        first = np.take(shards.found, [0], dim)
        if not np.array_equal(np.broadcast_to(first, shards.found.shape), shards.found, equal_nan=True):
            found.append(axis)
    return found


def axes_of(spec: P) -> frozenset[str]:
    """The mesh axes that a spec names."""
    names = (entry if isinstance(entry, tuple) else (entry,) for entry in spec if entry is not None)
    return frozenset(itertools.chain.from_iterable(names))


def cut(whole: np.ndarray, spec: P, mesh: Mesh) -> np.ndarray:
    """The part of each device of a mesh, whose axes are first."""
    parts = []
    for at in np.ndindex(*mesh.devices.shape):
        place, part = dict(zip(mesh.axis_names, at, strict=True)), whole
        for dim, entry in enumerate(spec):
            for axis in () if entry is None else entry if isinstance(entry, tuple) else (entry,):
                part = np.split(part, mesh.shape[axis], dim)[place[axis]]
        parts.append(part)
    return np.stack(parts).reshape(*mesh.devices.shape, *parts[0].shape)


def listed(axes: list[str] | tuple[str, ...]) -> str:
    """Mesh axes by name."""
    names = " and ".join(map(repr, axes))
    return f"mesh {'axis' if len(axes) == 1 else 'axes'} {names}"


def _not_finite(shards: Shards, agree: Agree) -> Iterator[Told]:
    if not np.all(np.isfinite(shards.found)):
        yield "not finite", "it is NaN or infinite, where the right one is finite"


def _factor(shards: Shards, agree: Agree) -> Iterator[Told]:
    """n times, 1/n, and nothing at all; of axes of one size those come first that it is replicated over."""
    if not np.any(shards.found):
        yield "zero", "it is zero on all shards"
    replicated = list(shards.replicated())
    ordered = [*replicated, *(a for a in shards.names if a in shards.split)]
    for axes in shards.some(iter(ordered)):
        n, what = shards.size(axes), listed(axes)
        sizes = f"the size of {what}" if len(axes) == 1 else f"the sizes of {what} multiplied"
        if agree(shards.found, n * shards.right, n):
            yield (
                "factor",
                f"it is {n} = {sizes} times the right one: is it summed twice, or is a mean's 1/B that of "
                "one shard?",
            )
        if agree(n * shards.found, shards.right, n):
            yield (
                "factor",
                f"it is 1/{n} of the right one, with {n} = {sizes}: is a mean over the shards taken for "
                "their sum?",
            )


def _not_summed(shards: Shards, agree: Agree) -> Iterator[Told]:
    for axes in shards.some(shards.replicated()):
        n, total = shards.size(axes), np.sum(shards.found, shards.dims(axes), keepdims=True)
        alone = "each has its own, and what is taken for the whole is the share of shard 0 alone"
        if agree(total, shards.right, n):
            yield "reduction", f"the shares are not summed over {listed(axes)}: {alone}"
        if agree(total / n, shards.right, n):
            yield "reduction", f"the mean over {listed(axes)} is not taken: {alone}"


def _elsewhere(shards: Shards, agree: Agree) -> Iterator[Told]:
    """The right parts, on other shards."""
    for axis in (a for a in shards.names if a in shards.split):
        (dim,) = shards.dims((axis,))
        for by in range(1, shards.size((axis,))):
            if agree(shards.found, np.roll(shards.right, -by, dim)):
                yield (
                    "shifted",
                    f"each shard has the part of the one {by} behind it on {listed((axis,))}: the parts are "
                    "not brought home",
                )
        n = shards.size((axis,))
        parts = [np.take(shards.right, [i], dim) for i in range(n)]
        homes = []
        for i in range(n):
            here = np.take(shards.found, [i], dim)
            homes.append(next((j for j in range(n) if agree(here, parts[j])), None))
        if None not in homes and homes != list(range(n)):
            yield "exchanged", f"the shards on {listed((axis,))} have the parts of shards {homes}"


def _first_alone(shards: Shards, agree: Agree) -> Iterator[Told]:
    for axes in shards.some():
        if len(axes) > 1:
            continue
        (dim,) = shards.dims(axes)
        n = shards.size(axes)
        right = [agree(np.take(shards.found, [i], dim), np.take(shards.right, [i], dim)) for i in range(n)]
        if right == [True, *[False] * (n - 1)]:
            yield (
                "conditional",
                f"it is right on shard 0 of {listed(axes)} and on no other: is a place, as that of a query "
                "in a causal mask, counted from 0 on each shard?",
            )


def _copies(shards: Shards, agree: Agree) -> Iterator[Told]:
    differing = differing_copies(shards)
    if differing:
        yield (
            "copies",
            f"it should be the same on all shards of {listed(differing)}, and each has another: is something "
            "drawn on each of them, as noise?",
        )


def _places(shards: Shards, wrong: list[tuple[int, ...]]) -> str:
    """Some of the shards by their numbers along the mesh axes."""
    shown = [", ".join(f"{n} {i}" for n, i in zip(shards.names, at, strict=True)) for at in wrong[:4]]
    return "; ".join(shown) + ("; ..." if len(wrong) > 4 else "")
