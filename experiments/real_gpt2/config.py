"""The `config.json` of a model: values checked as they are read."""

from pathlib import Path
from typing import Any

from experiments.common.errors import UserError, choose, shown

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""Our name of an activation by that of transformers."""


class Config:
    """The values by name; `path` is told where one is wrong."""

    def __init__(self, path: Path, values: Any) -> None:
        if not isinstance(values, dict):
            raise UserError(f"{path} holds no JSON object.")
        self.path, self.values = path, values

    def wrong(self, name: str, expected: str) -> UserError:
        """What to say of a value."""
        found = shown(repr(self.values.get(name)))
        return UserError(f"{name} in {self.path} was {found}; expected {expected}.")

    def count(self, name: str, default: int | None = None) -> int:
        """A positive integer, the default if it is missing or null."""
        value = self.values.get(name)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value < 2**31:
            raise self.wrong(name, "a positive integer")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A positive number, the default if it is missing and there is one."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise self.wrong(name, "a positive number")
        return float(value)

    def truth(self, name: str, default: bool) -> bool:
        """True or false, the default if it is missing."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def activation(self, name: str, default: str) -> str:
        """One of ours, by its name there."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "the name of an activation")
        return ACTIVATIONS[choose(f"{name} in {self.path}", value, ACTIVATIONS)]

    def tokens(self, name: str, vocabulary: int) -> tuple[int, ...]:
        """A token, or some in a list, or none; one beyond the vocabulary is a default that was left there."""
        value = self.values.get(name)
        found = [] if value is None else value if isinstance(value, list) else [value]
        if not all(type(token) is int for token in found):
            raise self.wrong(name, "a token")
        return tuple(token for token in found if 0 <= token < vocabulary)

    def require(self, name: str, value: Any) -> None:
        """Raise unless an option is missing or is what our model has."""
        if self.values.get(name, value) != value:
            raise self.wrong(name, f"{value!r}, which is what gpt has")
