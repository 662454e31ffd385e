"""The sheet on a terminal, in lines of 80 characters."""

import textwrap
from collections.abc import Iterator, Mapping

import numpy as np

from experiments.worked_example.breaking import terms
from experiments.worked_example.plain import plain
from experiments.worked_example.sheet import TOLERANCE, Key, Line, Sheet, difference, shown

WIDTH = 80

NO_BREAK = "\N{NO-BREAK SPACE}"


def text(title: str, beside: str, sheet: Sheet, truth: Mapping[Key, np.ndarray], closing: str) -> str:
    """All sections; at the right of each result stands how far it is from JAX's."""
    paragraphs = [textwrap.fill(paragraph, WIDTH) for paragraph in (title, beside, closing)]
    return "\n".join([*paragraphs[:2], *_lines(sheet, truth), "", paragraphs[2]])


def _lines(sheet: Sheet, truth: Mapping[Key, np.ndarray]) -> Iterator[str]:
    for section in sheet.sections:
        yield f"\n{section.title.upper()}"
        yield from textwrap.wrap(section.remark, WIDTH)
        for equation in section.equations:
            yield from _wrapped("    ", plain(equation))
        if section.given:
            yield ""
            given = (plain(f"{q.symbol} = {shown(q.amount)}").replace(" ", NO_BREAK) for q in section.given)
            yield from _wrapped("  ", ",  ".join(given))
        for line in section.lines:
            yield ""
            yield from _line(line, difference(line, truth))


def _line(line: Line, off: float) -> Iterator[str]:
    symbol, result = plain(line.symbol), plain(shown(line.value))
    head = f"  {symbol} {plain(line.relation)} "
    for step in dict.fromkeys(map(plain, (line.formula, line.numbers))):  # each once
        if step not in (symbol, result):
            yield from _broken(head, step)
            head = " " * (len(symbol) + 3) + "= "
    check = checked(off)
    *before, last = _wrapped(head, result)
    yield from before
    if len(last) + 2 + len(check) > WIDTH:
        yield last
        last = ""
    yield last + check.rjust(WIDTH - len(last))


def checked(off: float) -> str:
    """What is said of a result that is so far from JAX's."""
    said = f"off by {off:.0e}" if off else "off by 0"
    return said if off <= TOLERANCE else f"WRONG: {said}"


def _broken(head: str, formula: str) -> Iterator[str]:
    """A formula in one line, or a line for each term."""
    if len(head + formula) <= WIDTH:
        yield head + formula
        return
    first, *others = terms(formula)
    yield from _wrapped(head, first)
    for term in others:
        yield from _wrapped(" " * (len(head) - 2), term)


def _wrapped(head: str, body: str) -> list[str]:
    """A text in as many lines as it takes; matrices stay whole."""
    whole, inside = "", 0
    for letter in body:
        inside += (letter == "[") - (letter == "]")
        whole += NO_BREAK if inside and letter == " " else letter
    wrapper = textwrap.TextWrapper(
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in wrapper.wrap(body)]
