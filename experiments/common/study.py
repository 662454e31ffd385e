"""A study: a package that answers one question with a table, a sentence, figures and a picture.

To add one is to add its folder: `__init__` (the question, the equations and `STUDY`), `__main__`, `measure`
(settings and work) and `show` (table, picture and sentence). The list of commands and the tests find it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.common import command_line, commands, memory, run_folder
from experiments.common.console import say
from experiments.common.options import Seed

Figures = dict[str, Any]
"""What was measured, as JSON can hold it: no NaN, no arrays."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every study can be told."""

    group: ClassVar[str] = "every study"

    seed: Seed = 0
    """Seed of everything that is drawn."""
    out: Path | None = None
    """Where the figures and the picture go; by default a new folder in runs/."""
    overwrite: bool = False
    """Replace the run that is in --out."""


class Study(NamedTuple):
    """`measure` does the work on the settings; the other three only show the figures it returns."""

    name: str
    """That of its package, whose docstring begins with the question."""
    settings: type[Settings]
    measure: Callable[[Any], Figures]
    table: Callable[[Figures], Table]
    draw: Callable[[Figures], Figure]
    sentence: Callable[[Figures], str]
    small: str
    """Options with which it takes seconds, for its test."""
    long: bool = False
    """Whether it compiles for long with these options too, so that the test is a slow one."""


def parse(study: Study, args: Sequence[str] | None = None) -> Any:
    """The settings of a study's command line."""
    return command_line.parse(
        study.settings,
        prog=f"python -m experiments.{study.name}",
        description=commands.question(study.name),
        examples=["", study.small, "--seed 1 --out runs/mine"],
        args=args,
    )


def run(study: Study, args: Sequence[str] | None = None) -> int:
    """Run a study in float64 by its command line."""
    settings = parse(study, args)
    reserved = run_folder.reserved(settings.out, study.name, resume=False, overwrite=settings.overwrite)
    with reserved as make_folder:
        return _into(make_folder(), study, settings)


def _into(folder: Path, study: Study, settings: Settings) -> int:
    jax.config.update("jax_enable_x64", True)
    console = Console()
    with memory.told("The study"):
        figures = study.measure(settings)
    console.print(study.table(figures))
    run_folder.write_json(
        folder / run_folder.FIGURES,
        {"settings": run_folder.jsonable(dataclasses.asdict(settings)), "jax": jax.__version__, **figures},
    )
    picture = study.draw(figures)
    run_folder.write_whole(folder / run_folder.PICTURE, lambda file: picture.savefig(file, dpi=120))
    for line in (
        f"Figures: {folder / run_folder.FIGURES}",
        f"Picture: {folder / run_folder.PICTURE}",
        study.sentence(figures),
    ):
        say(console, line)
    return 0
