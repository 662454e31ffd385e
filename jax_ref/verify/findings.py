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
    "transposed": "the axes of a cotangent, or parts of them, are permuted",
    "flipped": "a cotangent is reversed along an axis",
    "shifted": "a cotangent is shifted along an axis",
    "exchanged": "a cotangent is another argument's",
    "added term": "a multiple of an argument or of another cotangent is added or missing",
    "reduction": "the examples' shares of a cotangent are reduced in a wrong way, or some are left out",
    "path": "the share of one use of the argument is missing, counted twice, or has the wrong sign",
    "statistic": "a reduction (a mean, a variance, a maximum) is taken for a constant",
    "derivative": "the derivative of a step of the reference, or of the whole, is left out or is another one",
    "constant": "a cotangent is the right one without one of the reference's constants or masks",
    "value": "the derivative of a step is taken with another value, as that from before it for that after it",
    "input": "a cotangent is the right one for other values of another argument",
    "copies": "what should be the same on all shards of a mesh axis differs",
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

IMPRECISE = "imprecise"
"""The verdict on what is right in float64, and has fewer digits in its dtype than autodiff's own."""

SHOWN = 4
"""Undecided entries that are printed."""


def ratio(error: float, bound: float) -> float:
    """Error over bound; nothing where there is no finite bound, as autodiff is not finite itself."""
    if error == math.inf:
        return math.inf  # not finite where the right one is
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
    """What `check` found. `print` it.

    `findings` are at fault. `imprecise` are not: digits that rounding costs at points of the verifier's own,
    or wherever the option `precision` does not ask for them. `tried` says where was looked.
    """

    name: str
    leaves: tuple[Leaf, ...]
    findings: tuple[Finding, ...]
    undecided: tuple[str, ...]
    notes: tuple[str, ...]
    imprecise: tuple[Finding, ...] = ()
    tried: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        """A table of the leaves, then findings, what is imprecise or undecided, notes, and what was tried."""
        lines = [f"gradient of {self.name}: {self._headline()}", ""]
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
            *((IMPRECISE if self._is_imprecise(f) else "wrong", [str(f)]) for f in self.findings),
            (IMPRECISE, map(str, self.imprecise)),
            ("undecided", _few(self.undecided)),
            ("note", list(self.notes)),
        ):
            lines += [f"{title}: {item}" for item in items]
        lines.append(
            "words: jax_ref.verify.KINDS explains those in brackets, and jax_ref.verify.WORDS the others"
        )
        lines += [f"tried: {self.tried}"] if self.tried else []
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.ok:
            return "right, as far as was looked" + (
                ", but imprecise at some points" if self.imprecise else ""
            )
        return IMPRECISE.upper() if all(map(self._is_imprecise, self.findings)) else "WRONG"

    def _is_imprecise(self, finding: Finding) -> bool:
        """Whether it is digits that rounding costs, and not those of a narrower dtype inside."""
        wrong = {leaf.path for leaf in self.leaves if leaf.verdict == "wrong"}
        return finding.kind == "precision" and finding.path not in wrong


def _few(items: tuple[str, ...]) -> list[str]:
    more = [f"and {len(items) - SHOWN} more, in report.undecided"] if len(items) > SHOWN else []
    return [*items[:SHOWN], *more]
