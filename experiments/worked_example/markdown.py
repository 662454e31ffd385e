"""The sheet as Markdown to hand out, its formulas as LaTeX in the `math` blocks that GitHub shows."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from experiments.worked_example.breaking import terms
from experiments.worked_example.plain import plain
from experiments.worked_example.sheet import Key, Line, Section, Sheet, difference, shown
from experiments.worked_example.text import checked

WIDTH = 90
"""Of a formula in characters of plain text; a longer one has a line for each term."""

IN_A_ROW = 4
"""Given numbers."""


def markdown(title: str, beside: str, sheet: Sheet, truth: Mapping[Key, np.ndarray], closing: str) -> str:
    """A heading for each section, and under its lines how far the worst is from JAX's."""
    blocks = [f"# {title}", beside]
    for section in sheet.sections:
        blocks += _section(section, truth)
    return "\n\n".join([*blocks, "## Check", closing]) + "\n"


def _section(section: Section, truth: Mapping[Key, np.ndarray]) -> Iterator[str]:
    yield f"## {section.title}"
    if section.remark:
        yield section.remark.replace("_", r"\_").replace("*", r"\*")
    if section.equations:
        yield _math("gathered", section.equations)
    if section.given:
        given = [f"{q.symbol} = {shown(q.amount)}" for q in section.given]
        rows = (given[here : here + IN_A_ROW] for here in range(0, len(given), IN_A_ROW))
        yield _math("gathered", map(r" \qquad ".join, rows))
    for line in section.lines:
        yield _math("aligned", _steps(line))
    if section.lines:
        off = max(difference(line, truth) for line in section.lines)
        yield f"Check against JAX, the worst of {len(section.lines)} lines: {checked(off)}."


def _steps(line: Line) -> Iterator[str]:
    result, head = shown(line.value), f"{line.symbol} &{line.relation} "
    for step in dict.fromkeys((line.formula, line.numbers)):  # each once
        if step not in (line.symbol, result):
            first, *others = terms(step) if len(plain(step)) > WIDTH else [step]
            yield head + first
            yield from (rf"&\quad {term}" for term in others)
            head = "&= "
    yield head + result


def _math(environment: str, rows: Iterable[str]) -> str:
    body = " \\\\\n".join(rows)
    return f"```math\n\\begin{{{environment}}}\n{body}\n\\end{{{environment}}}\n```"
