"""The command: the example in the letters of one note, on the terminal or as Markdown."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from experiments.common import command_line, commands, run_folder
from experiments.common.errors import UserError, choose
from experiments.worked_example import autodiff, markdown, text
from experiments.worked_example.layers import LAYERS, Layer
from experiments.worked_example.network import Example
from experiments.worked_example.notations import NOTATIONS
from experiments.worked_example.plain import plain
from experiments.worked_example.sheet import Key, Sheet, difference, shown, wrong

MOST = 10.0
"""No number may be larger: sigmoids would be 0 and 1."""

BESIDE = "Two inputs, two hidden neurons ({activation}), two outputs ({head})."

CHECKED = (
    "Results have six digits, and where that takes more digits of what is put in, it has more. Each is "
    "checked in float64 against JAX, where the forward pass is plain code and every derivative is by "
    "jax.grad."
)

HEADS = {
    "quadratic": "sigmoid, quadratic cost",
    "cross_entropy": "softmax, cross-entropy",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command can be told."""

    network: str = "dense"
    """dense, the notes' own, or a layer of another kind, in the letters of 002: convolution, batch_norm, lstm
    or attention."""
    notation: str = "index_and_vector_forms"
    """Whose letters: four_equations, index_and_vector_forms, matrix_form, paths or two_passes, or a note's
    number, 000 to 004."""
    head: str = "quadratic"
    """quadratic (with sigmoid outputs) or cross_entropy (with softmax)."""
    activation: str = "sigmoid"
    """Of the hidden layer: sigmoid or tanh."""
    inputs: tuple[float, float] = (1.0, 2.0)
    """The two inputs."""
    targets: tuple[float, float] = (1.0, 0.0)
    """The two targets; with cross_entropy, probabilities."""
    learning_rate: float = 0.5
    """Of the one step, of any network."""
    markdown: Path | None = None
    """Write the example here as Markdown, with formulas as GitHub shows them, and print only the check."""


def main(args: Sequence[str] | None = None) -> int:
    """Write the example out; 1 if a line is not what JAX says."""
    settings = command_line.parse(
        Settings,
        prog="python -m experiments.worked_example",
        description=commands.question("worked_example"),
        examples=(
            "",
            "--notation matrix_form --head cross_entropy",
            "--network lstm",
            "--network attention --markdown example.md",
        ),
        args=args,
    )
    choose("--network", settings.network, ("dense", *LAYERS))
    example, page = example_of(settings), settings.markdown
    if page is not None and (not page.name or page.is_dir()):
        raise UserError(f"--markdown was {str(page)!r}; expected a file.")
    jax.config.update("jax_enable_x64", True)
    sheet = Sheet()
    if settings.network == "dense":
        title, beside, truth = _dense(settings.notation, example, sheet)
    else:
        layer = _layer(settings)
        title, beside, truth = layer.title, layer.beside, layer.truth(settings.learning_rate)
        layer.write(sheet, settings.learning_rate)
    beside, closing = f"{beside} {CHECKED}", conclusion(sheet, truth)
    if page is None:
        print(text.text(title, beside, sheet, truth, closing))
    else:
        content = markdown.markdown(title, beside, sheet, truth, closing)
        run_folder.write_whole(page, lambda file: file.write(content.encode()))
        print(f"Markdown: {page}\n{closing}")
    return 1 if wrong(sheet, truth) else 0


def _dense(name: str, example: Example, sheet: Sheet) -> tuple[str, str, Mapping[Key, np.ndarray]]:
    """Title and subtitle of the notes' network, and its numbers by JAX; its lines are written."""
    by_number = {notation.note.number: notation for notation in NOTATIONS.values()}
    notation = by_number.get(name) or NOTATIONS[choose("--notation", name, NOTATIONS)]
    notation.write(sheet, example)
    beside = BESIDE.format(activation=example.activation, head=HEADS[example.head])
    return f"Backpropagation by hand, in the letters of {notation.note}", beside, autodiff.truth(example)


def _layer(settings: Settings) -> Layer:
    """The layer, if nothing was asked for that only the notes' network has."""
    for option in ("notation", "head", "activation", "inputs", "targets"):
        if getattr(settings, option) != getattr(Settings, option):
            raise UserError(f"--{option} was given with --network {settings.network}; it is for dense alone.")
    return LAYERS[settings.network]


def example_of(settings: Settings) -> Example:
    """The example, if its numbers can be worked with."""
    choose("--head", settings.head, autodiff.NAMES)
    choose("--activation", settings.activation, ("sigmoid", "tanh"))
    for option, least in (("inputs", -MOST), ("targets", -MOST), ("learning_rate", 0.0)):
        numbers = np.atleast_1d(getattr(settings, option))
        if not np.all((least <= numbers) & (numbers <= MOST)):
            said = " ".join(f"{number:g}" for number in numbers)
            raise UserError(f"--{option.replace('_', '-')} was {said}; expected {least:g} to {MOST:g}.")
    one, other = settings.targets
    if settings.head == "cross_entropy" and not (min(one, other) >= 0 and math.isclose(one + other, 1)):
        raise UserError(
            f"--targets was {one:g} {other:g}; cross_entropy expects probabilities, with the sum 1."
        )
    return Example(
        settings.inputs, settings.targets, settings.learning_rate, settings.activation, settings.head
    )


def conclusion(sheet: Sheet, truth: Mapping[Key, np.ndarray]) -> str:
    """Whether all is as JAX says, and what the step does to the loss."""
    lines = sheet.lines
    if found := wrong(sheet, truth):
        return f"NOT what JAX says: {len(found)} of {len(lines)} lines, the first {plain(found[0].symbol)}."
    before, after = (next(line.value for line in lines if line.key[0] == key) for key in ("cost", "new cost"))
    fell = "falls" if np.less(after, before).all() else "does not fall"
    return (
        f"All {len(lines)} lines are what JAX computes in float64, to "
        f"{max(difference(line, truth) for line in lines):.0e}. "
        f"The loss {fell}: {plain(shown(before))} before the step, {plain(shown(after))} after it."
    )
