r"""Which wrong backward does each check find, and which right one does it accuse?

The collection in `tests.planted` holds right pairs fwd, bwd, and pairs with one mistake each. Every pair is
shown to every check of `comparison_checks`, at arguments drawn anew each time; all checks see the same.

A mistake is caught by a check that complains of it at every draw, sometimes caught by one that does at some.
A complaint of a right pair is a false alarm; they are counted at each draw. An error that is not the check's
own way to complain counts as a complaint, and is counted apart as well. Mistakes below the rounding of
float32 are left out in float32. A mistake is named if, at every draw, one of the kinds that ours finds is
among those that the collection has for it; the other checks name none, as their message is only numbers.
The seconds are those of a right pair's first draw, with all compilation. Its other draws and the mistakes in
it find some of the programs compiled; ours takes longer over a mistake, to find out which it is.
"""

import dataclasses
import statistics
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from experiments import comparison_checks
from experiments.common import errors, study
from experiments.common.errors import UserError
from experiments.comparison_checks import CHECKS, Answer, Case
from tests.planted.collection import MISTAKES, ORIGINALS
from tests.planted.form import Original, Planted

COLOURS = {"every draw": "#0072B2", "some draws": "#56B4E9", "false alarms": "#D55E00"}
LISTED = 4
"""Missed mistakes that the sentence names."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """Which wrong backward does each check find, and which right one does it accuse?"""

    only: str = ""
    """Text that the names of the mistakes and of the right pairs contain; by default all."""
    draws: int = 3
    """Times that the arguments of each pair are drawn."""
    realistic: bool = False
    """Arguments of realistic sizes instead of small ones."""


def measure(settings: Settings) -> study.Figures:
    """A row for every right pair and every mistake, with what each check says of it, and their sums."""
    if settings.draws < 1:
        raise UserError(f"--draws was {settings.draws}; expected at least 1.")
    rights, mistakes = chosen(settings.only)
    if not rights and not mistakes:
        raise UserError(
            f"--only was {settings.only!r}; expected a part of the name of a mistake or right pair."
        )
    steps = [*rights, *mistakes]
    steps.sort(key=lambda name: list(ORIGINALS).index(_original(name)))  # stable: a right pair comes first
    rows = {}
    for name in track(steps, "checking", console=Console(stderr=True), transient=True):
        rows[name] = (of_mistake if name in MISTAKES else of_right)(name, settings)
    of_rights, of_mistakes = [rows[name] for name in rights], [rows[name] for name in mistakes]
    return {
        "torch": comparison_checks.torch and comparison_checks.torch.__version__,
        "draws": settings.draws,
        "size": "realistic" if settings.realistic else "small",
        "checks": {check: summary(check, of_rights, of_mistakes) for check in CHECKS},
        "rights": of_rights,
        "mistakes": of_mistakes,
    }


def chosen(text: str) -> tuple[list[str], list[str]]:
    """The right pairs and the mistakes whose names contain a text."""
    return [name for name in ORIGINALS if text in name], [name for name in MISTAKES if text in name]


def _original(name: str) -> str:
    return MISTAKES[name].original if name in MISTAKES else name


def of_right(name: str, settings: Settings) -> study.Figures:
    """What the checks say of a right pair, by its name."""
    original, checks = ORIGINALS[name], {}
    for check in CHECKS:
        jax.clear_caches()  # its time must not depend on what was compiled before
        checks[check] = tally(ask(check, original, original, settings))
    return {"name": name, "checks": checks}


def of_mistake(name: str, settings: Settings) -> study.Figures:
    """What the checks say of a mistake, by its name; nothing in float32 of one that is below its rounding."""
    mistake = MISTAKES[name]
    asked = [check for check, (dtype, _) in CHECKS.items() if mistake.float32 or dtype != "float32"]
    checks = {check: ask(check, mistake, ORIGINALS[mistake.original], settings) for check in asked}
    return {
        "name": name,
        "original": mistake.original,
        "kinds": list(mistake.kinds),
        "checks": {check: tally(answers, mistake.kinds) for check, answers in checks.items()},
    }


def ask(check: str, pair: Original | Planted, original: Original, settings: Settings) -> list[Answer]:
    """A check's answers about a pair, one for each draw of the original's arguments."""
    answers = []
    for draw in range(settings.draws):
        seed = settings.seed, draw
        args = original.args(np.random.default_rng(seed), settings.realistic)
        answers.append(comparison_checks.ask(check, Case(pair.fwd, pair.bwd, original.reference, args, seed)))
    return answers


def tally(answers: list[Answer], kinds: tuple[str, ...] = ()) -> study.Figures:
    """How many of the answers complain, by an error that was raised, and by one of the `kinds`."""
    return {
        "complaints": sum(answer.complains for answer in answers),
        "of": len(answers),
        "raised": sum(bool(answer.raised) for answer in answers),
        "named": sum(bool(set(kinds) & set(answer.kinds)) for answer in answers),
        "kinds": sorted({kind for answer in answers for kind in answer.kinds}),
        "errors": sorted({answer.raised for answer in answers} - {""}),
        "seconds": answers[0].seconds,
    }


def summary(check: str, rights: list[study.Figures], mistakes: list[study.Figures]) -> study.Figures:
    """The counts of one check over all rows."""
    right, wrong = (
        [row["checks"][check] for row in rows if check in row["checks"]] for rows in (rights, mistakes)
    )
    missed = [
        row["name"]
        for row in mistakes
        if check in row["checks"] and row["checks"][check]["complaints"] < row["checks"][check]["of"]
    ]
    seconds = [row["seconds"] for row in right]
    return {
        "mistakes": len(wrong),
        "left_out": len(mistakes) - len(wrong),
        "caught": len(wrong) - len(missed),
        "sometimes": sum(0 < row["complaints"] < row["of"] for row in wrong),
        "named": sum(row["named"] == row["of"] for row in wrong),
        "missed": missed,
        "raised": sum(row["raised"] for row in wrong),
        "tries": sum(row["of"] for row in right),
        "alarms": sum(row["complaints"] for row in right),
        "alarms_raised": sum(row["raised"] for row in right),
        "accused": [row["name"] for row in rights if row["checks"][check]["complaints"]],
        "seconds": statistics.median(seconds) if seconds else None,
    }


def table(figures: study.Figures) -> Table:
    """One row for each check."""
    names = ("caught", "sometimes", "named", "false alarms", "raised", "seconds")
    said = "" if figures["torch"] else " PyTorch is not installed: without torch.autograd.gradcheck."
    if left_out := max(f["left_out"] for f in figures["checks"].values()):
        said += f" Left out in float32, as below its rounding: {left_out}."
    shown = Table(
        Column("check", no_wrap=True),
        *(Column(name, justify="right") for name in names),
        box=box.SIMPLE,
        caption=f"Draws of {figures['size']} arguments: {figures['draws']}. caught, sometimes: mistakes at "
        "every draw, and only at some; named: caught, and for what it is; raised: complaints that were other "
        "errors than the check's own, of mistakes + right pairs; seconds: median over the right pairs of a "
        f"first call, with compilation.{said}",
    )
    for check, f in figures["checks"].items():
        shown.add_row(
            check,
            f"{f['caught']} of {f['mistakes']}",
            str(f["sometimes"]),
            str(f["named"]),
            f"{f['alarms']} of {f['tries']}",
            f"{f['raised']} + {f['alarms_raised']}",
            "-" if f["seconds"] is None else f"{f['seconds']:.2f}",
        )
    return shown


def draw(figures: study.Figures) -> Figure:
    """A bar for each check: the mistakes it catches on the left, its false alarms on the right."""
    checks = figures["checks"]
    figure = Figure(figsize=(10, 1.9 + 0.42 * len(checks)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    caught, sometimes, alarms = (_column(checks, key) for key in ("caught", "sometimes", "alarms"))
    left.barh(list(checks), caught, 0.7, color=COLOURS["every draw"], label="caught at every draw")
    rest = left.barh(
        list(checks), sometimes, 0.7, caught, color=COLOURS["some draws"], label="only at some draws"
    )
    bars = right.barh(list(checks), alarms, 0.7, color=COLOURS["false alarms"], label="false alarms")
    left.bar_label(rest, [f"{f['caught']} of {f['mistakes']}" for f in checks.values()], padding=4)
    right.bar_label(bars, [f"{f['alarms']} of {f['tries']}" for f in checks.values()], padding=4)
    _finish(left, max(_column(checks, "mistakes")), "planted mistakes")
    _finish(right, max(_column(checks, "tries")), "right pairs × draws")
    left.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"Wrong gradients caught and right ones accused; draws of {figures['size']} arguments: "
        f"{figures['draws']}"
    )
    return figure


def _column(checks: dict[str, Any], key: str) -> list[int]:
    return [f[key] for f in checks.values()]


def _finish(ax: Axes, largest: int, label: str) -> None:
    ax.set(xlim=(0, 1.35 * max(largest, 1)), xlabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def sentence(figures: study.Figures) -> str:
    """What each check catches and accuses, and what ours misses."""
    checks = figures["checks"]
    caught = ", ".join(f"{check} {f['caught']} of {f['mistakes']}" for check, f in checks.items())
    alarms = ", ".join(f"{check} {f['alarms']}" for check, f in checks.items() if f["alarms"])
    ours = {check: f for check, f in checks.items() if check.startswith("ours")}
    missed = list(dict.fromkeys(name for f in ours.values() for name in f["missed"]))
    accused = list(dict.fromkeys(name for f in ours.values() for name in f["accused"]))
    named = "/".join(str(f["named"]) for f in ours.values())
    return (
        f"Mistakes caught at every draw: {caught}; false alarms in {max(_column(checks, 'tries'))} tries on "
        f"right pairs: {alarms or 'none'}; ours names {named} of the mistakes in float32/float64, misses "
        f"{_listed(missed)}, and accuses {_listed(accused)}."
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:LISTED])
    return (shown or "none") + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


STUDY = study.Study("verifier_comparison", Settings, measure, table, draw, sentence)

if __name__ == "__main__":
    errors.run(lambda: study.run(STUDY))
