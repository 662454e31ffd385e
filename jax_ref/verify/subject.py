"""The subject of a check: a pair, an op, or a function with a `custom_vjp`, brought to one interface.

`run(args, d_output)` of a `Subject` returns the output and a tuple with one cotangent for each argument, None
where there is none. The same functions give the same subject, so that compiled programs are reused.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from jax_ref.verify.oracle import value_and_vjp
from jax_ref.verify.trees import is_floating, kind


class Subject(NamedTuple):
    """A gradient and its reference; `own_forward` where the reference is the forward pass itself."""

    name: str
    forward: Callable[..., PyTree]
    run: Callable[[tuple[PyTree, ...], PyTree], tuple[PyTree, Any]]
    reference: Callable[..., PyTree]
    own_forward: bool
    names: Callable[[int], tuple[str, ...]]
    call: str
    """The call of the verifier as text, with `{args}` where its arguments go."""


def _kept(make: Callable[..., Subject]) -> Callable[..., Subject]:
    """`make`, cached, where all of the functions and settings are hashable."""
    cached = functools.lru_cache(maxsize=32)(make)

    @functools.wraps(make)
    def kept(*given: Any, **static: Any) -> Subject:
        told_apart = all(map(_is_hashable, (*given, *static.values())))
        return (cached if told_apart else make)(*given, **static)

    return kept


@_kept
def of_pair(fwd: Callable[..., Any], bwd: Callable[..., Any], reference: Any) -> Subject:
    """`fwd(*args) -> (output, residuals)` and `bwd(residuals, d_output)`, as `jax.custom_vjp` has them."""
    _callable("fwd", fwd)
    _callable("bwd", bwd)

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        output, residuals = _two(fwd(*args))
        return output, bwd(residuals, d_output)

    call = f"verify.check({_name(fwd, 'fwd')}, {_name(bwd, 'bwd')}, {{args}}{_against(reference)})"

    def forward(*args: PyTree) -> PyTree:
        return _two(fwd(*args))[0]

    return _subject(fwd, forward, run, reference, call)


@_kept
def of_op(op: Any, reference: Any, /, **static: Any) -> Subject:
    """An object with `fwd([params,] *inputs, **static)` and `bwd([params,] residuals, d_output, **static)`.

    A single cotangent may be bare, and arguments without one have no entry.
    """
    _callable("op.fwd", getattr(op, "fwd", None))
    _callable("op.bwd", getattr(op, "bwd", None))
    positional = [
        p for p in inspect.signature(op.bwd).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        output, residuals = _two(op.fwd(*args, **static))
        params = args[:1] if len(positional) == 3 else ()
        given = op.bwd(*params, residuals, d_output, **static)
        wanted = [any(map(is_floating, jax.tree.leaves(arg))) for arg in args]
        given = (given,) if sum(wanted) == 1 else given
        if not isinstance(given, tuple) or len(given) != sum(wanted):
            found = len(given) if isinstance(given, tuple) else 1
            raise ValueError(
                f"bwd returned {found} cotangents; expected {sum(wanted)}, one for each argument of "
                "floating point"
            )
        remaining = iter(given)
        return output, tuple(next(remaining) if flag else None for flag in wanted)

    extra = "".join(f", {name}={value!r}" for name, value in static.items())
    call = f"verify.check_op({_name(op, 'op')}, {{args}}{_against(reference)}{extra})"

    def forward(*args: PyTree) -> PyTree:
        return _two(op.fwd(*args, **static))[0]

    if reference is not None:
        _callable("reference", reference)
    plain = reference and (lambda *args: reference(*args, **static))
    return _subject(op.fwd, forward, run, plain, call)


@_kept
def of_function(f: Callable[..., Any], reference: Any) -> Subject:
    """A function with its own `jax.custom_vjp`, against a plain one."""
    _callable("f", f)
    if reference is None:
        raise TypeError("check_function: reference was None; expected a plain function to hold f against")

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        return value_and_vjp(f, args, d_output)

    call = f"verify.check_function({_name(f, 'f')}, {{args}}{_against(reference)})"
    return _subject(f, f, run, reference, call)


def _name(value: Any, otherwise: str) -> str:
    """A name that the user may have for it: of a function or a module, not of a lambda."""
    name = getattr(value, "__name__", otherwise).rpartition(".")[2]
    return name if name.isidentifier() else otherwise


def _against(reference: Any) -> str:
    return f", reference={_name(reference, 'reference')}" if reference is not None else ""


def _subject(function: Any, forward: Any, run: Any, reference: Any, call: str) -> Subject:
    if reference is not None:
        _callable("reference", reference)
    name = _name(function, "a function")

    def names(count: int) -> tuple[str, ...]:
        try:
            parameters = list(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            parameters = []
        fitting = parameters if len(parameters) >= count and "args" not in parameters[:count] else []
        return tuple(fitting[:count]) or tuple(f"args[{i}]" for i in range(count))

    plain = _hashable(forward if reference is None else reference)
    return Subject(name, _hashable(forward), run, plain, reference is None, names, call)


def _is_hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


def _hashable(function: Any) -> Any:
    """The function, or a hashable one that calls it, as compiled programs are found by the hash."""
    if _is_hashable(function):
        return function
    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))


def _callable(name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"verify: {name} was {value!r}; expected a function")


def _two(returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        found = f"{len(returned)} things" if isinstance(returned, tuple) else kind(returned)
        raise TypeError(f"verify: fwd returned {found}; expected (output, residuals)")
    return returned
