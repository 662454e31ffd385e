"""Python source of arguments and calls, to reproduce a finding."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.options import Options
from jax_ref.verify.subject import Subject, name_of

LIMIT = 40
"""Entries of all arrays together that are written out."""

SPECIAL = {"inf": "jnp.inf", "-inf": "-jnp.inf", "nan": "jnp.nan"}
"""What NumPy calls values that have no name in Python."""


class Text:
    """Something whose `repr` is its text, so that trees print with it in place of a leaf."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def line(subject: Subject, args: tuple[PyTree, ...], options: Options, number: int) -> str:
    """The call of the verifier with `args`, or with the example of finding `number` where it is large."""
    example, static = f"report.findings[{number}].example", subject.static
    if sum(np.size(x) for x in jax.tree.leaves(args)) <= LIMIT:
        texts = [repr(jax.tree.map(literal, arg)) for arg in args]
    else:
        texts = [f"{example}[{i}]" for i in range(len(args))] if static.values else [f"*{example}"]
    given = ", ".join(static.merged(texts, {i: _plain(value) for i, value in static.values}))
    default = Options()
    keywords = [
        f"{name}={_plain(value, name)}"
        for name, value in options._asdict().items()
        if value != getattr(default, name)
    ]
    keywords += [f"static_argnums={tuple(i for i, _ in static.values)}"] if static.values else []
    return f"{subject.call.replace('{args}', given)[:-1]}{''.join(f', {k}' for k in keywords)})"


def _plain(value: Any, otherwise: str = "value") -> str:
    """An option or a static argument as it is written: a function by its name, infinities as JAX's."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_plain, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float):
        return SPECIAL.get(str(value), repr(value))
    return name_of(value, otherwise) if callable(value) else repr(value)


def literal(x: Any) -> Text:
    """An array as the call of `jnp.array` that makes it."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return Text(f"jax.random.wrap_key_data({literal(np.asarray(jax.random.key_data(x)))!r})")
    values = [SPECIAL.get(str(v), str(v).removesuffix(".0")) for v in x.ravel()]
    nested: Any = np.array([Text(v) for v in values], object).reshape(x.shape).tolist()
    return Text(f"jnp.array({nested!r}, {str(x.dtype)!r})")
