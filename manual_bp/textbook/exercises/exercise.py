"""An exercise: a statement, a forward pass that is given, and a backward pass to write."""

import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax
from jaxtyping import Array


class Exercise(NamedTuple):
    """A pair by the contract of `manual_bp.ops`, whose `bwd` is the solution; print it for its statement.

    `saved` names the residuals and `returns` the cotangents, in order; `example` makes arguments of `fwd`.
    """

    number: int
    title: str
    statement: str
    saved: tuple[str, ...]
    returns: tuple[str, ...]
    hint: str
    example: Callable[[], tuple[Array, ...]]
    fwd: Callable[..., tuple[Array, Any]]
    bwd: Callable[[Any, Array], Any]

    def answered_by(self, bwd: Callable[[Any, Array], Any]) -> "Exercise":
        """The same forward with a reader's backward."""
        return self._replace(bwd=bwd)

    @property
    def to_write(self) -> str:
        """The function that the reader completes."""
        residuals, output = inspect.signature(self.bwd).parameters
        lines = [f"def bwd({residuals}, {output}):"]
        if self.saved:
            lines.append(f"    {', '.join(self.saved)} = {residuals}")
        return "\n".join([*lines, "    ...", f"    return {', '.join(self.returns)}"])

    def __str__(self) -> str:
        """The statement, and the function to complete."""
        return f"Exercise {self.number}. {self.title}\n\n{self.statement}\n\n{self.to_write}"

    __repr__ = __str__


def of(number: int, module: ModuleType) -> Exercise:
    """The exercise of a module: its docstring is title and statement, `bwd` the solution."""
    title, _, statement = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    return Exercise(
        number,
        title.removesuffix("."),
        statement,
        module.SAVED,
        module.RETURNS,
        textwrap.fill(" ".join(module.HINT.split()), 80),
        module.example,
        module.fwd,
        module.bwd,
    )


def normal(*shapes: tuple[int, ...]) -> tuple[Array, ...]:
    """Normal numbers of several shapes, the same each time."""
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))
