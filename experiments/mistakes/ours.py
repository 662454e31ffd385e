"""The project's own verifier, `jax_ref.verify.check`, asked of an author's pair.

It is asked at level="quick", as the default level takes about ten times as long. So it looks at the given
layers and at others beside them, not at its whole ladder, and at what the backward makes of scaled, negated,
added and zero cotangents. Where all entries of a leaf are equal, as zeros are, it draws that leaf anew: it
does not stay at a place where a wrong gradient is right.
"""

from typing import NamedTuple

from experiments.mistakes.author import Author, Cost
from experiments.mistakes.places import Place
from jax_ref import verify
from manual_bp.textbook.columns import Layer

DTYPES = {"ours float32": "float32", "ours float64": "float64"}


def report(right: Cost, author: Author, place: Place) -> verify.Report:
    """What it says at a place, in both dtypes."""
    return verify.check(
        author.fwd,
        author.bwd,
        *place,
        reference=right.value,
        level="quick",
        dtypes=("float64", "float32"),
        skip={"shrinking": "its example is not looked at here"},
    )


def complains(found: verify.Report, dtype: str) -> bool:
    """Whether a leaf is beyond its bound in this dtype; what is found otherwise counts in both."""
    beyond = {leaf.dtype for leaf in found.leaves if leaf.ratio > 1 and leaf.verdict == "wrong"}
    return dtype in beyond if beyond else not found.ok


class Wrong(NamedTuple):
    """A leaf that is wrong, such as W3, and the kind of `verify.KINDS` that says what it is instead."""

    leaf: str
    kind: str


def first_wrong(found: verify.Report) -> Wrong | None:
    """The first wrong leaf on the way back: of W3, b3, W2, ..."""
    kinds = {finding.path: finding.kind for finding in found.findings}
    depth = len({leaf.path for leaf in found.leaves}) // len(Layer._fields)
    for k in reversed(range(depth)):
        for name in Layer._fields:
            if kind := kinds.get(f"layers[{k}].{name}"):
                return Wrong(f"{name}{k + 1}", kind)
    return None
