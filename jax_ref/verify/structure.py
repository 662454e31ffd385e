"""Structural agreement of cotangents with their arguments: trees, shapes and dtypes, leaf by leaf."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.findings import Finding
from jax_ref.verify.trees import dtype_of, is_floating, joined, kind, labelled

NOT_ASKED = object()
"""In place of the cotangent of an argument that is data: it has none, though it is of floating point."""


class Matched(NamedTuple):
    """The cotangents of the floating leaves that are as they must be, and what is wrong with the others.

    A None, which JAX takes for zero, is zero here, and its path is among `absent`: it may be right.
    """

    right: dict[str, Any]
    absent: list[str]
    findings: list[Finding]


def match(args: tuple[PyTree, ...], cotangents: Any, names: tuple[str, ...]) -> Matched:
    """The cotangents leaf by leaf."""
    if not isinstance(cotangents, tuple | list) or len(cotangents) != len(args):
        found = f"{len(cotangents)}" if isinstance(cotangents, tuple | list) else kind(cotangents)
        text = f"the backward returned {found}; expected a tuple of {len(args)}, one entry for each argument"
        return Matched({}, [], [Finding("structure", "", text)])
    right, absent, findings = {}, [], []
    for name, arg, cotangent in zip(names, args, cotangents, strict=True):
        if cotangent is NOT_ASKED:
            continue
        given = labelled((cotangent,), (name,), is_leaf=_is_none)
        trees = [jax.tree.structure(tree, is_leaf=_is_none) for tree in (arg, cotangent)]
        if trees[0] != trees[1] and given.keys() == labelled((arg,), (name,), is_leaf=_is_none).keys():
            text = f"the cotangent is {trees[1]}; expected {trees[0]}, as the argument is"
            findings.append(Finding("structure", name, text))
        for path, leaf in jax.tree_util.tree_leaves_with_path(arg):
            where = joined(name, path)
            value, key = _covering(given, where)
            given.pop(where, None)
            problem = _problem(leaf, value, key is not None)
            if problem:
                findings.append(Finding("structure", where, problem))
            elif is_floating(leaf) and value is None:
                absent.append(where)
                right[where] = jnp.zeros(np.shape(leaf), dtype_of(leaf))
            elif is_floating(leaf):
                right[where] = value
        for where, value in given.items():
            if value is not None:
                text = f"a cotangent of shape {np.shape(value)} belongs to no leaf of the argument"
                findings.append(Finding("structure", where, text))
    return Matched(right, absent, findings)


def _is_none(x: Any) -> bool:
    return x is None


def _problem(leaf: Any, cotangent: Any, present: bool) -> str | None:
    """What is wrong with the cotangent of a leaf, in words; `present` is false where there is no entry."""
    if not is_floating(leaf):
        if cotangent is None or dtype_of(cotangent) == jax.dtypes.float0:
            return None
        return (
            f"an argument of dtype {dtype_of(leaf)} has a cotangent of dtype {dtype_of(cotangent)}; expected "
            "None or float0"
        )
    if not present:
        return "no cotangent; expected one, as the argument is of floating point"
    if cotangent is None:
        return None
    if np.shape(cotangent) != np.shape(leaf):
        extra = np.ndim(cotangent) - np.ndim(leaf)
        unsummed = extra > 0 and np.shape(cotangent)[extra:] == np.shape(leaf)
        hint = f": it is not summed over the first {extra} axes" if unsummed else ""
        return f"the cotangent has shape {np.shape(cotangent)}; expected {np.shape(leaf)}{hint}"
    if dtype_of(cotangent) != dtype_of(leaf):
        return f"the cotangent has dtype {dtype_of(cotangent)}; expected {dtype_of(leaf)}"
    return None


def _covering(given: dict[str, Any], where: str) -> tuple[Any, str | None]:
    """The entry at a path, or a None above it, which stands for the whole of its subtree."""
    if where in given:
        return given[where], where
    for path, value in given.items():
        if value is None and where.startswith((f"{path}.", f"{path}[")):
            return None, path
    return None, None
