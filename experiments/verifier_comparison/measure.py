"""Answers of each check for every right pair and every mistake, counted over the draws."""

import dataclasses
import statistics

import jax
import numpy as np
from rich.console import Console
from rich.progress import track

from experiments.common import study
from experiments.common.errors import UserError
from experiments.common.options import Count
from experiments.verifier_comparison import checks
from experiments.verifier_comparison.checks import CHECKS, Answer, Case
from experiments.verifier_comparison.planted.collection import MISTAKES, ORIGINALS
from experiments.verifier_comparison.planted.form import Original, Planted


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    only: str = ""
    """Text that the names of the mistakes and of the right pairs contain; by default all."""
    draws: Count = 3
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
        "torch": checks.torch and checks.torch.__version__,
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
    original, said = ORIGINALS[name], {}
    for check in CHECKS:
        jax.clear_caches()  # its time must not depend on what was compiled before
        said[check] = tally(ask(check, original, original, settings))
    return {"name": name, "checks": said}


def of_mistake(name: str, settings: Settings) -> study.Figures:
    """What the checks say of a mistake, by its name, in the dtypes in which it is one."""
    mistake = MISTAKES[name]
    asked = [check for check, (dtype, _) in CHECKS.items() if dtype not in mistake.none_in]
    said = {check: ask(check, mistake, ORIGINALS[mistake.original], settings) for check in asked}
    return {
        "name": name,
        "original": mistake.original,
        "kinds": list(mistake.kinds),
        "checks": {check: tally(answers, mistake.kinds) for check, answers in said.items()},
    }


def ask(check: str, pair: Original | Planted, original: Original, settings: Settings) -> list[Answer]:
    """A check's answers about a pair, one for each draw of the original's arguments."""
    answers = []
    for draw in range(settings.draws):
        seed = settings.seed, draw
        args = original.args(np.random.default_rng(seed), settings.realistic)
        answers.append(checks.ask(check, Case(pair.fwd, pair.bwd, original.reference, args, seed)))
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
