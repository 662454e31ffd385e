"""The vocabulary of a report: kinds of findings, a row for each leaf, and what could not be decided."""

import math
from typing import NamedTuple

from jaxtyping import PyTree

KINDS = {
    "structure": "a cotangent is missing, superfluous, or has another tree, shape or dtype than its argument",
    "raises": "the function raised an error",
    "forward": "the output is not the reference's",
    "gradient": "a cotangent is not the oracle's, and no simpler description fits",
    "factor": "a cotangent, or what of it goes through one step of the reference, is off by a factor",
    "sign": "a cotangent has the wrong sign",
    "zero": "a cotangent is zero, and should not be",
    "transposed": "the axes of a cotangent are permuted",
    "flipped": "a cotangent is reversed along an axis",
    "shifted": "a cotangent is shifted along an axis",
    "exchanged": "a cotangent is another argument's",
    "added term": "a multiple of an argument or of another cotangent is added or missing",
    "reduction": "the examples' shares of a cotangent are reduced in a wrong way, or some are left out",
    "path": "the share of one use of the argument is missing, counted twice, or has the wrong sign",
    "statistic": "a reduction (a mean, a variance, a maximum) is taken for a constant",
    "derivative": "the derivative of a step of the reference, or of the whole, is left out or is another one",
    "constant": "a cotangent is the right one without one of the reference's constants or masks",
    "input": "a cotangent is the right one for other values of another argument",
    "conditional": "a cotangent is right but where a condition on the inputs holds",
    "cotangent ignored": "a cotangent does not depend on that of the output, or on all of it",
    "not linear": "a cotangent is not linear in that of the output",
    "batch": "a cotangent is wrong only for some batch sizes",
    "precision": "a cotangent has fewer digits than its dtype",
    "not finite": "a cotangent is NaN or infinite where the true one is finite",
    "transform": "the function changes under jit or vmap",
    "not deterministic": "two calls with the same arguments differ",
    "reference": "the reference's own derivative is not that of its values",
}
"""The vocabulary of `Finding.kind`."""

SHOWN = 4
"""Undecided entries that are printed."""


def ratio(error: float, bound: float) -> float:
    """Error over bound; nothing where there is no finite bound, as autodiff is not finite itself."""
    if not math.isfinite(bound):
        return 0.0
    return error / bound if bound > 0 else (0.0 if error == 0 else float("inf"))


class Leaf(NamedTuple):
    """The worst that was seen of one argument's leaf."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    error: float
    bound: float
    verdict: str
    where: str

    @property
    def ratio(self) -> float:
        """Error over bound; above 1 is wrong."""
        return ratio(self.error, self.bound)


class Finding(NamedTuple):
    """One thing that is wrong: its kind, a word of `KINDS`, the leaf it concerns, and a sentence.

    `example` are the smallest arguments found at which it shows, and `line` the call that shows it.
    """

    kind: str
    path: str
    text: str
    example: tuple[PyTree, ...] = ()
    line: str = ""

    def __str__(self) -> str:
        """The sentence, and the line below it."""
        text = f"[{self.kind}] {self.path + ': ' if self.path else ''}{self.text}"
        return f"{text}\n    {self.line}" if self.line else text


class Report(NamedTuple):
    """What `check` found. `print` it."""

    name: str
    leaves: tuple[Leaf, ...]
    findings: tuple[Finding, ...]
    undecided: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        """A table of the leaves, then findings, what is undecided, and notes."""
        verdict = "right, as far as was looked" if self.ok else "WRONG"
        lines = [f"gradient of {self.name}: {verdict}", ""]
        rows = [("leaf", "shape", "dtype", "error", "bound", "ratio", "verdict", "where")]
        rows += [
            (
                leaf.path,
                "x".join(map(str, leaf.shape)) or "scalar",
                leaf.dtype,
                f"{leaf.error:.1e}",
                f"{leaf.bound:.1e}",
                f"{leaf.ratio:.2g}",
                leaf.verdict,
                leaf.where,
            )
            for leaf in self.leaves
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        for title, items in (
            ("wrong", map(str, self.findings)),
            ("undecided", _few(self.undecided)),
            ("note", list(self.notes)),
        ):
            lines += [f"{title}: {item}" for item in items]
        return "\n".join(lines)


def _few(items: tuple[str, ...]) -> list[str]:
    more = [f"and {len(items) - SHOWN} more, in report.undecided"] if len(items) > SHOWN else []
    return [*items[:SHOWN], *more]
