r"""Numbers that a device sends and keeps, by kind of parallelism, for the blocks of a decoder.

Axes: L blocks; B examples, T tokens, C features, H heads, K features of the keys, F hidden features; n
devices; M microbatches. Collectives of b numbers send, as the best known algorithms do:

    all-reduce  2 (n - 1)/n b       all-gather, reduce-scatter  (n - 1)/n b     shift  b            (1)

Nothing here asks JAX: the numbers are those of the equations in `manual_bp.parallel`.
"""

from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import NamedTuple

SUMS = 4
"""Of a block over heads and hidden features: two forward, two backward."""


class Model(NamedTuple):
    """Sizes; `batch` is B of all devices together, `microbatches` M."""

    layers: int
    width: int
    heads: int
    keys: int
    hidden: int
    batch: int
    times: int
    microbatches: int

    @property
    def stream(self) -> int:
        """Numbers of the stream: B T C."""
        return self.batch * self.times * self.width

    @property
    def leaves(self) -> list[tuple[int, ...]]:
        """Shapes of a block's params that are split over heads and hidden features."""
        c, k, f = self.width, self.keys, self.hidden
        return [(c, c), (c,), (c, k), (k,), (c, k), (k,), (c, c), (c, f), (f,), (f, c)]

    @property
    def others(self) -> list[tuple[int, ...]]:
        """Those that are not: gains and biases of two norms, biases of two sums."""
        return [(self.width,)] * 6

    @property
    def of_layer(self) -> int:
        """P: the params of a block."""
        return sum(map(prod, self.leaves + self.others))


class Needs(NamedTuple):
    """Numbers of one device: sent in a step, and kept of params and of what blocks save."""

    sent: Fraction
    params: Fraction
    activations: Fraction


def all_reduce(count: int, n: int) -> Fraction:
    """(1)."""
    return Fraction(2 * (n - 1) * count, n)


def all_gather(count: int, n: int) -> Fraction:
    """(1): of a whole with so many numbers; a reduce-scatter sends as many."""
    return Fraction((n - 1) * count, n)


def of_token(m: Model, n: int = 1) -> Fraction:
    """What a block saves of a token, with heads and hidden features over n devices.

    Inputs of two norms; q, k, v, o, and of each head a maximum and a sum; the hidden features.
    """
    return 2 * m.width + Fraction(2 * m.width + 2 * m.keys + 2 * m.heads + m.hidden, n)


def data(m: Model, n: int) -> Needs | None:
    """All params on each device; the gradient is summed, and the cost with it."""
    if m.batch % n:
        return None
    count = m.layers * m.of_layer
    tokens = m.batch // n * m.times
    return Needs(all_reduce(count + 1, n), Fraction(count), m.layers * tokens * of_token(m))


def fsdp(m: Model, n: int) -> Needs | None:
    """A part of each param that has a divisible axis: gathered twice in each layer, scattered once."""
    if m.batch % n:
        return None
    split = sum(prod(s) for s in m.leaves + m.others if any(d % n == 0 for d in s))
    whole = m.of_layer - split
    sent = m.layers * (3 * all_gather(split, n) + all_reduce(whole, n)) + all_reduce(1, n)
    tokens = m.batch // n * m.times
    kept = m.layers * (Fraction(split, n) + whole)
    return Needs(sent, kept, m.layers * tokens * of_token(m))


def tensor(m: Model, n: int) -> Needs | None:
    """Heads and hidden features: four sums of the stream in a block."""
    if m.heads % n or m.keys * m.heads // m.width % n or m.hidden % n:
        return None
    split, whole = (sum(map(prod, shapes)) for shapes in (m.leaves, m.others))
    kept = m.layers * (Fraction(split, n) + whole)
    tokens = m.batch * m.times
    return Needs(SUMS * m.layers * all_reduce(m.stream, n), kept, m.layers * tokens * of_token(m, n))


def sequence(m: Model, n: int) -> Needs | None:
    """Time: k and v at n - 1 stops; backward with their cotangents, or what is less, q, do and dq with two
    numbers a query and head; the gradient is summed.
    """
    if m.times % n:
        return None
    tokens = m.batch * m.times // n
    count = m.layers * m.of_layer
    ring = (n - 1) * tokens * (2 * m.keys + min(4 * m.keys, 3 * m.width + 2 * m.heads))
    return Needs(all_reduce(count + 1, n) + m.layers * ring, Fraction(count), m.layers * tokens * of_token(m))


def pipeline(m: Model, n: int) -> Needs | None:
    """Blocks: x to the next stage and dx to that before; at most 2 n - 1 microbatches are saved."""
    if m.layers % n or m.batch % m.microbatches:
        return None
    tokens = m.batch // m.microbatches * m.times
    shifts = 2 * m.microbatches + 2 * (n - 1) if n > 1 else 0
    if n == 2:  # the last ticks are one, no loop, and XLA drops its shift, which brings nobody anything
        shifts -= 1
    sent = Fraction(shifts * tokens * m.width) + all_reduce(1, n)
    slots = min(m.microbatches, 2 * n - 1)
    layers = m.layers // n
    return Needs(sent, Fraction(layers * m.of_layer), layers * slots * tokens * of_token(m))


KINDS: dict[str, Callable[[Model, int], Needs | None]] = {
    "data": data,
    "fsdp": fsdp,
    "tensor": tensor,
    "sequence": sequence,
    "pipeline": pipeline,
}
"""By name: what a device needs, or None where something does not divide by the devices."""

OF_DEVICE = ("data", "fsdp")
"""The kinds of which each device has examples of its own."""
