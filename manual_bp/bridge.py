"""From a pair `fwd`, `bwd` to an ordinary differentiable JAX function."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

Static = tuple[tuple[str, Any], ...]


@runtime_checkable
class Op(Protocol):
    """Anything with a `fwd` and a `bwd`: a module of `manual_bp.ops`, a pair, an object of yours."""

    @property
    def fwd(self) -> Callable[..., tuple[Any, Any]]:
        """`fwd([params,] *inputs, **static) -> (output, residuals)`."""
        ...

    @property
    def bwd(self) -> Callable[..., Any]:
        """`bwd([params,] residuals, d_output, **static) -> cotangents`."""
        ...


def differentiable(op: Op) -> Callable[..., Any]:
    """The function `fwd` without its residuals, whose derivative is `bwd` (a `jax.custom_vjp`).

    It has the signature of `op.fwd`. Positional arguments are pytrees of arrays: those whose leaves are
    floating point are differentiable, and `op.bwd` returns their cotangents in order, a single one bare.
    Integers, booleans, PRNG keys and `None` have none. Keyword-only arguments are static and hashable.

    Raises `TypeError` if a static option is not hashable or is traced, if an argument mixes floating
    point leaves with others or is complex, and if `op` is not such a pair; `ValueError` if `bwd` returns
    another number of cotangents than there are differentiable arguments. As with every `custom_vjp`,
    there is no forward-mode derivative.
    """
    if not (callable(getattr(op, "fwd", None)) and callable(getattr(op, "bwd", None))):
        raise TypeError(f"differentiable: op was {op!r}; expected an object with fwd and bwd")
    signature = inspect.signature(op.fwd)
    static_names = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    takes_params = _takes_params(op.bwd)
    name = _name(op)

    # `static` is the options as a tuple of pairs, `flags` whether each argument is differentiable.
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
    def call(static: Static, flags: tuple[bool, ...], *args: Any) -> Any:
        return op.fwd(*args, **dict(static))[0]

    def call_fwd(static: Static, flags: tuple[bool, ...], *args: Any) -> tuple[Any, Any]:
        output, residuals = op.fwd(*args, **dict(static))
        return output, (args[:1] if takes_params else (), residuals)

    def call_bwd(static: Static, flags: tuple[bool, ...], saved: Any, d_output: Any) -> Any:
        params, residuals = saved
        cotangents = op.bwd(*params, residuals, d_output, **dict(static))
        return _spread(name, cotangents, flags)

    call.defvjp(call_fwd, call_bwd)

    @functools.wraps(op.fwd)
    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        static = tuple((option, bound.arguments[option]) for option in static_names)
        for option, value in static:
            _check_static(name, option, value)
        for argument, value in zip(signature.parameters, bound.args, strict=False):
            _check_argument(name, argument, value)
        return call(static, tuple(map(_is_differentiable, bound.args)), *bound.args)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}.fwd` without its residuals, differentiated by `{name}.bwd`."
    return function


def _name(op: Op) -> str:
    """`dense` of the module `manual_bp.ops.dense`, `sigmoid` of the pair with `_sigmoid_fwd`."""
    if inspect.ismodule(op):
        return op.__name__.rpartition(".")[2]
    return getattr(op.fwd, "__name__", type(op).__name__).strip("_").removesuffix("_fwd")


def _takes_params(bwd: Callable[..., Any]) -> bool:
    """Whether `bwd` is `bwd(params, residuals, d_output)`, not `bwd(residuals, d_output)`."""
    positional = [
        p for p in inspect.signature(bwd).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    if len(positional) not in (2, 3):
        raise TypeError(
            f"differentiable: bwd has {len(positional)} positional arguments; expected "
            "(residuals, d_output) or (params, residuals, d_output)"
        )
    return len(positional) == 3


def _is_differentiable(argument: Any) -> bool:
    leaves = jax.tree.leaves(argument)
    return bool(leaves) and all(jnp.issubdtype(_dtype(x), jnp.floating) for x in leaves)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def _check_static(op: str, option: str, value: Any) -> None:
    if isinstance(value, jax.Array):
        raise TypeError(
            f"{op}: the static option {option} was an array of shape {value.shape}; expected a Python value: "
            "it can be neither traced nor differentiated"
        )
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{op}: the static option {option} was {value!r}; expected a hashable value"
        ) from None


def _check_argument(op: str, argument: str, value: Any) -> None:
    try:
        dtypes = [_dtype(leaf) for leaf in jax.tree.leaves(value)]
    except TypeError:
        raise TypeError(
            f"{op}: argument {argument} was {value!r}; expected arrays or pytrees of arrays"
        ) from None
    if any(jnp.issubdtype(d, jnp.complexfloating) for d in dtypes):
        raise TypeError(f"{op}: argument {argument} is complex; expected real floating point")
    floating = [jnp.issubdtype(d, jnp.floating) for d in dtypes]
    if any(floating) and not all(floating):
        kinds = ", ".join(sorted({str(d) for d in dtypes}))
        raise TypeError(
            f"{op}: argument {argument} mixes leaves of {kinds}, so that it cannot be differentiated; "
            "expected floating point leaves alone, and the others in an argument of their own"
        )


def _spread(op: str, cotangents: Any, differentiable_args: Sequence[bool]) -> tuple[Any, ...]:
    """One entry per argument: its cotangent, or None, JAX's zero, where it has none."""
    count = sum(differentiable_args)
    given = cotangents if count != 1 else (cotangents,)
    if not isinstance(given, tuple) or len(given) != count:
        found = len(given) if isinstance(given, tuple) else 1
        raise ValueError(
            f"{op}: bwd returned {found} cotangents; expected {count}, one for each differentiable "
            "argument of fwd"
        )
    remaining = iter(given)
    return tuple(next(remaining) if flag else None for flag in differentiable_args)
