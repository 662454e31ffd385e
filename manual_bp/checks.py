"""Argument checks that run at trace time and name the argument, what it was and what was expected."""

import difflib
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np


def floating(op: str, **arrays: Any) -> None:
    """Raise `TypeError` unless every one of `arrays` is a real floating point array."""
    for name, array in arrays.items():
        found = getattr(array, "dtype", None)
        if found is None:
            raise TypeError(f"{op}: {name} is a {type(array).__name__}; expected a floating point array")
        if not jnp.issubdtype(found, jnp.floating):
            raise TypeError(f"{op}: {name} has dtype {found}; expected a floating point dtype")


def dtype(op: str, name: str, array: Any, expected: Any) -> None:
    """Raise `TypeError` unless `array` has the dtype `expected`."""
    if array.dtype != expected:
        raise TypeError(f"{op}: {name} has dtype {array.dtype}; expected {jnp.dtype(expected)}")


def shape(op: str, name: str, array: Any, expected: tuple[int, ...], why: str = "") -> None:
    """Raise `ValueError` unless `array` has the shape `expected`; `why` says where that comes from."""
    if jnp.shape(array) != tuple(expected):
        raise ValueError(f"{op}: {name} has shape {jnp.shape(array)}; expected {tuple(expected)}{why}")


def cotangent(op: str, name: str, array: Any, like: Any) -> None:
    """Raise unless the cotangent `array` has the shape and dtype of `like`: it must not broadcast."""
    floating(op, **{name: array})
    shape(op, name, array, like.shape, ", the shape of the output it belongs to")
    dtype(op, name, array, like.dtype)


def no_wider(op: str, name: str, array: Any, params: str, like: Any) -> None:
    """Raise `TypeError` if `array` has more bits than `like`, the params of the name `params`, has."""
    if array.dtype != like.dtype and array.dtype.itemsize >= like.dtype.itemsize:
        expected = f"{like.dtype}, that of {params}, or a narrower one"
        raise TypeError(f"{op}: {name} has dtype {array.dtype}; expected {expected}")


def same_as(op: str, name: str, array: Any, other: str, like: Any) -> None:
    """Raise unless `array` has the shape and dtype of the argument named `other`."""
    shape(op, name, array, like.shape, f", the shape of {other}")
    dtype(op, name, array, like.dtype)


def per_example(op: str, name: str, array: Any, features: Any) -> None:
    """Raise unless `array` has one value for each row of `features` (*B, F), in their dtype."""
    shape(op, name, array, features.shape[:-1], ", one value per example")
    dtype(op, name, array, features.dtype)


def features(op: str, **arrays: Any) -> None:
    """Raise `ValueError` unless every one of `arrays` has a last axis."""
    for name, array in arrays.items():
        if array.ndim == 0:
            raise ValueError(f"{op}: {name} is a scalar; expected at least one axis")


def option(op: str, name: str, value: Any, holds: bool, expected: str) -> None:
    """Raise `ValueError` unless `holds`; `expected` says what would."""
    if not holds:
        raise ValueError(f"{op}: {name} was {value!r}; expected {expected}")


def number(op: str, name: str, value: Any, holds: Callable[[Any], bool], expected: str) -> None:
    """Raise `ValueError` unless `value` is a real number of Python's or NumPy's for which it `holds`."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    option(op, name, value, real and holds(value), expected)


def is_count(value: object) -> bool:
    """Whether `value` is a positive integer of Python's or NumPy's."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) > 0


def are_counts(values: Any) -> bool:
    """Whether `values` is a sequence of positive integers."""
    return isinstance(values, Sequence) and not isinstance(values, str) and all(map(is_count, values))


def flag(op: str, name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is True or False."""
    option(op, name, value, isinstance(value, bool | np.bool_), "True or False")


def together(op: str, name: str, value: Any, *parts: str) -> tuple[Any, ...]:
    """The parts of a tuple; raise `TypeError` unless there are as many as their names `parts`."""
    if not isinstance(value, tuple | list) or len(value) != len(parts):
        count = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise TypeError(f"{op}: {name} is a {type(value).__name__}{count}; expected ({', '.join(parts)})")
    return tuple(value)


def counts(op: str, **values: Any) -> None:
    """Raise `ValueError` unless every one of `values` is a positive integer."""
    for name, value in values.items():
        option(op, name, value, is_count(value), "a positive integer")


def array(op: str, what: str, **arrays: Any) -> None:
    """Raise `TypeError` unless every one of `arrays` is an array; `what` it should hold is told."""
    for name, value in arrays.items():
        if not hasattr(value, "dtype") or not hasattr(value, "shape"):
            raise TypeError(f"{op}: {name} is a {type(value).__name__}; expected an array of {what}")


def integers(op: str, **arrays: Any) -> None:
    """Raise `TypeError` unless every one of `arrays` is an array of integers."""
    array(op, "integers", **arrays)
    for name, value in arrays.items():
        if not jnp.issubdtype(value.dtype, jnp.integer):
            raise TypeError(f"{op}: {name} has dtype {value.dtype}; expected an integer dtype")


def params(op: str, value: Any, kind: type, name: str = "params") -> None:
    """Raise `TypeError` unless `value` is of the `kind` that its gradient will be of."""
    if not isinstance(value, kind):
        fields = ", ".join(getattr(kind, "_fields", ()))
        wanted = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}({fields})"
        raise TypeError(f"{op}: {name} is a {type(value).__name__}; expected {wanted}")


def normalized(op: str, value: Any, kind: type, x: Any, eps: Any) -> None:
    """Raise unless `value` holds gains `g`, and biases `b` if it has any, for the last axis of `x`."""
    params(op, value, kind)
    floating(op, x=x, **{"params.g": value.g})
    features(op, x=x)
    shape(op, "params.g", value.g, x.shape[-1:], f", as x has shape {x.shape}")
    no_wider(op, "x", x, "params.g", value.g)
    bias = getattr(value, "b", None)
    if bias is not None:
        floating(op, **{"params.b": bias})
        same_as(op, "params.b", bias, "params.g", value.g)
    number(op, "eps", eps, lambda e: 0 <= e < float("inf"), "a number of at least 0")


def choice(op: str, name: str, value: Any, known: Iterable[str]) -> None:
    """Raise `ValueError` unless `value` is one of the names `known`, and say which is nearest."""
    names = sorted(known)
    if value not in names:
        near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? Known" if near else "known"
        raise ValueError(f"{op}: {name} was {value!r}; {hint}: {', '.join(names)}")
