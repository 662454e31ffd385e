"""Fields of a dataclass of settings as options: what each takes, what is said of it, and its group.

The class is the only place that lists them. An option's values are the field's type, with its limit in
`Annotated`; its help is the docstring under the field, its group the `group` of the class that declares it.
"""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from experiments.common import options

METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


class Form(NamedTuple):
    """What an option takes: `number` values of `kind` within `limit`, any number of them if it is None."""

    kind: type
    limit: options.Limit | None = None
    number: int | None = 1

    def read(self, option: str, given: Sequence[str]) -> Any:
        """The value that the texts after an option stand for."""
        values = tuple(options.read(option, self.kind, self.limit, text) for text in given)
        return values[0] if self.number == 1 else values

    @property
    def metavar(self) -> str:
        """How `--help` shows a value."""
        return "NAME" if isinstance(self.limit, options.OneOf) else METAVARS[self.kind]


class Field(NamedTuple):
    """An option of a command."""

    name: str
    form: Form
    help: str
    group: str

    @property
    def option(self) -> str:
        """As it is typed."""
        return f"--{self.name.replace('_', '-')}"


def fields(settings: type) -> list[Field]:
    """The options that a dataclass of settings stands for, in the order of their groups."""
    hints = get_type_hints(settings, include_extras=True)
    bases = [base for base in reversed(settings.__mro__) if dataclasses.is_dataclass(base)]
    docs = {name: text for base in bases for name, text in docstrings(base).items()}
    found = []
    for field in dataclasses.fields(settings):
        home = next(base for base in bases if field.name in inspect.get_annotations(base))
        form = form_of(hints[field.name])
        words = [docs.get(field.name, ""), _names(form), _default(field.default)]
        group = vars(home).get("group", "this command")
        found.append(Field(field.name, form, " ".join(filter(None, words)), group))
    return found


def form_of(hint: Any) -> Form:
    """The form of a type: a scalar, one that may be `None`, or a tuple of one kind."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return form_of(inside[0])._replace(limit=inside[1])
    if origin in (Union, UnionType):
        return form_of(next(kind for kind in inside if kind is not NoneType))
    if origin is tuple:
        return form_of(inside[0])._replace(number=None if inside[-1] is Ellipsis else len(inside))
    return Form(hint)


def docstrings(settings: type) -> dict[str, str]:
    """The docstring under each field, in one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(str(below.value.value).split())
        for field, below in pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }


def _names(form: Form) -> str:
    return f"One of {', '.join(sorted(form.limit.names))}." if isinstance(form.limit, options.OneOf) else ""


def _default(value: Any) -> str:
    if value is None or value is False or value in ((), ""):
        return ""
    text = " ".join(map(str, value)) if isinstance(value, tuple) else value
    return f"Default: {text}."
