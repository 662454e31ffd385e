"""From a pair `fwd`, `bwd` to an ordinary differentiable JAX function."""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, get_args, get_origin, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.sharding import like, made_to_vary, varying

Static = tuple[tuple[str, Any], ...]
"""Static options, by name."""

Layouts = tuple[tuple[Any, ...] | None, ...]
"""For each argument the sharding of its leaves on an explicit mesh, None where it has no cotangent."""


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

    It has the signature of `op.fwd`. Positional arguments are pytrees of arrays, or Python numbers: those
    whose leaves are floating point are differentiable, and `op.bwd` returns their cotangents in order, a
    single one bare. Integers, booleans, PRNG keys and `None` have none. Keyword-only arguments are static
    and hashable. It can be pickled if the op can be, or is a module.

    Under `jax.shard_map` an argument that is replicated over a mesh axis gets the sum of the shards' shares
    as its gradient, as JAX's own functions give it; with `check_vma=False` JAX does not know what varies,
    and the gradient is one shard's share, to be summed by the caller.

    Raises `TypeError` if an argument is missing or unknown, if a static option is not hashable or is traced,
    if an argument mixes floating point leaves with others or is complex, and if `op` is not such a pair;
    `ValueError` if `bwd` returns another number of cotangents than there are differentiable arguments. As
    with every `custom_vjp`, there is no forward-mode derivative.
    """
    if not (callable(getattr(op, "fwd", None)) and callable(getattr(op, "bwd", None))):
        raise TypeError(f"differentiable: op was {op!r}; expected an object with fwd and bwd")
    return _Differentiable(op)


class _Differentiable:
    """The function of an op: an object, as a function made within another one cannot be pickled."""

    def __init__(self, op: Op):
        functools.update_wrapper(self, op.fwd)
        self._op, self._signature = op, inspect.signature(op.fwd)
        self._takes_params = _takes_params(op.bwd)
        self._call = _custom_vjp(op, self._takes_params)
        self.__name__ = self.__qualname__ = name = _name(op)
        self.__doc__ = _doc(op, name, self._signature)
        self.__signature__ = _without_residuals(self._signature)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name, parameters = self.__name__, self._signature.parameters
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {_misfit(parameters, args, kwargs) or error}") from None
        bound.apply_defaults()
        static = tuple((p.name, bound.arguments[p.name]) for p in parameters.values() if _is_static(p))
        for option, value in static:
            _check_static(name, option, value)
        for argument, value in zip(parameters, bound.args, strict=False):
            _check_argument(name, argument, value)
        arrays = _arrays(bound.args)
        arrays = _spread_over_mesh(arrays)
        return self._call(static, self._layouts(arrays), *arrays)

    def _layouts(self, arrays: tuple[Any, ...]) -> Layouts:
        """An empty one for params without leaves, of which `bwd` may return the empty cotangent."""
        first, *others = map(_layout, arrays)
        return (() if self._takes_params and not jax.tree.leaves(arrays[0]) else first, *others)

    def __repr__(self) -> str:
        return f"differentiable({self.__name__})"

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._op, ModuleType):
            return _of_module, (self._op.__name__,)
        return differentiable, (self._op,)


def _of_module(name: str) -> Callable[..., Any]:
    return differentiable(importlib.import_module(name))  # pyright: ignore[reportArgumentType]


def _custom_vjp(op: Op, takes_params: bool) -> Callable[..., Any]:
    """`call(static, layouts, *args)`, whose cotangents are those of `op.bwd`."""

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
    def call(static: Static, layouts: Layouts, *args: Any) -> Any:
        return op.fwd(*_arrays(args), **dict(static))[0]

    def call_fwd(static: Static, layouts: Layouts, *args: Any) -> tuple[Any, Any]:
        args = _arrays(args)  # JAX hands on Python numbers as such
        output, residuals = op.fwd(*args, **dict(static))
        return output, (args[:1] if takes_params else (), residuals)

    def call_bwd(static: Static, layouts: Layouts, saved: Any, d_output: Any) -> Any:
        params, residuals = saved
        cotangents = op.bwd(*params, residuals, d_output, **dict(static))
        return _one_per_argument(_name(op), cotangents, layouts)

    call.defvjp(call_fwd, call_bwd)
    return call


def _name(op: Op) -> str:
    """`dense` of the module `manual_bp.ops.dense`, `sigmoid` of the pair with `_sigmoid_fwd`."""
    if inspect.ismodule(op):
        return op.__name__.rpartition(".")[2]
    return getattr(op.fwd, "__name__", type(op).__name__).strip("_").removesuffix("_fwd")


def _doc(op: Op, name: str, signature: inspect.Signature) -> str:
    """The docstrings of the op and of its `fwd`, how it is called, and which options it has."""
    own = op.__doc__ if op.__doc__ != type(op).__doc__ else None  # an object without one has its class's
    own, of_fwd = inspect.cleandoc(own or ""), inspect.cleandoc(op.fwd.__doc__ or "")
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    options = ", ".join(str(p) for p in plain if _is_static(p)) or "none"
    call = f"{name}({', '.join(str(p) for p in plain if not _is_static(p))})\nStatic options: {options}."
    bridge = f"This is `{name}.fwd` without its residuals, differentiated by `{name}.bwd`."
    return "\n\n".join(filter(None, [own, "" if of_fwd in own else of_fwd, call, bridge]))


def _without_residuals(signature: inspect.Signature) -> inspect.Signature:
    """The signature of a function that returns the output alone."""
    annotation = signature.return_annotation
    output = get_args(annotation)[0] if get_origin(annotation) is tuple else signature.empty
    return signature.replace(return_annotation=output)


def _is_static(parameter: inspect.Parameter) -> bool:
    return parameter.kind is parameter.KEYWORD_ONLY


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


def _misfit(parameters: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What is wrong with the names of a call: an unknown one, and which is meant."""
    unknown = [name for name in kwargs if name not in parameters]
    if not unknown:
        return None
    given = [*list(parameters)[: len(args)], *kwargs]
    missing = [n for n, p in parameters.items() if n not in given and p.default is p.empty]
    free = [name for name in parameters if name not in given]
    near = missing if len(missing) == 1 else difflib.get_close_matches(unknown[0], free, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? It takes" if near else "it takes"
    return f"unknown argument {unknown[0]!r}; {hint} {', '.join(parameters)}"


def _layout(argument: Any) -> tuple[Any, ...] | None:
    return tuple(map(like, jax.tree.leaves(argument))) if _is_differentiable(argument) else None


def _is_differentiable(argument: Any) -> bool:
    leaves = jax.tree.leaves(argument)
    return bool(leaves) and all(jnp.issubdtype(_dtype(x), jnp.floating) for x in leaves)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def _arrays(args: Any) -> Any:
    """Arguments with Python numbers as weakly typed arrays, as JAX's own functions take them."""

    def array(leaf: Any) -> Any:
        number = isinstance(leaf, int | float) and not isinstance(leaf, bool | np.generic)
        return jnp.asarray(leaf) if number else leaf

    return jax.tree.map(array, args)


def _spread_over_mesh(args: Any) -> Any:
    """The differentiable leaves cast to vary over every mesh axis of a `shard_map` that any leaf varies over.

    The transpose of that cast is the sum over the shards, so that what `bwd` returns for its own shard adds
    up for an argument that is replicated. Where nothing varies, nothing is cast.
    """
    axes = varying(args)
    return jax.tree.map(lambda x: made_to_vary(x, axes) if _is_differentiable(x) else x, args)


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


def _one_per_argument(op: str, cotangents: Any, layouts: Layouts) -> tuple[Any, ...]:
    """One entry per argument: its cotangent, laid out as it is, or None, JAX's zero, where it has none."""
    count = sum(layout is not None for layout in layouts)
    if layouts[:1] == ((),) and not (isinstance(cotangents, tuple) and len(cotangents) == count):
        layouts, count = (None, *layouts[1:]), count - 1
    given = cotangents if count != 1 else (cotangents,)
    if not isinstance(given, tuple) or len(given) != count:
        found = len(given) if isinstance(given, tuple) else 1
        raise ValueError(
            f"{op}: bwd returned {found} cotangents; expected {count}, one for each differentiable "
            "argument of fwd"
        )
    remaining = iter(given)
    return tuple(None if layout is None else _laid_out(next(remaining), layout) for layout in layouts)


def _laid_out(cotangent: Any, layout: tuple[Any, ...]) -> Any:
    """The cotangent of an argument with its leaves in their shardings, where there are any."""
    if not any(layout):
        return cotangent
    leaves, tree = jax.tree.flatten(cotangent)
    return jax.tree.unflatten(tree, map(jax.reshard, leaves, layout))
