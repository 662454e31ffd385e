"""Python source of arguments and calls, to reproduce a finding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.options import Options

LIMIT = 40
"""Entries of all arrays together that are written out."""

SPECIAL = {"inf": "jnp.inf", "-inf": "-jnp.inf", "nan": "jnp.nan"}
"""What NumPy calls values that have no name in Python."""


class _Text:
    """Something whose `repr` is its text, so that trees print with it in place of a leaf."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def line(call: str, args: tuple[PyTree, ...], options: Options, number: int) -> str:
    """The call of the verifier with `args`, or with the example of finding `number` where it is large."""
    if sum(np.size(x) for x in jax.tree.leaves(args)) > LIMIT:
        given = f"*report.findings[{number}].example"
    else:
        given = ", ".join(repr(jax.tree.map(_leaf, arg)) for arg in args)
    default = Options()
    keywords = "".join(
        f", {name}={dict(value) if name == 'skip' else value!r}"
        for name, value in options._asdict().items()
        if value != getattr(default, name)
    )
    return f"{call.replace('{args}', given)[:-1]}{keywords})"


def _leaf(x: Any) -> _Text:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return _Text(f"jax.random.wrap_key_data({_leaf(np.asarray(jax.random.key_data(x)))!r})")
    values = [SPECIAL.get(str(v), str(v).removesuffix(".0")) for v in x.ravel()]
    nested: Any = np.array([_Text(v) for v in values], object).reshape(x.shape).tolist()
    return _Text(f"jnp.array({nested!r}, {str(x.dtype)!r})")
