"""The subject of a check: a pair, an op, or a function with a `custom_vjp`, brought to one interface.

`run(args, d_output)` of a `Subject` returns the output and a tuple with one cotangent for each argument, None
where there is none. The same functions give the same subject, so that compiled programs are reused.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.oracle import value_and_vjp
from jax_ref.verify.structure import NOT_ASKED
from jax_ref.verify.trees import contained_as, floats, is_floating, kind


class Static(NamedTuple):
    """Arguments that are plain values, by position: they are bound, and not differentiated."""

    values: tuple[tuple[int, Any], ...] = ()
    types: tuple[type, ...] = ()
    """Those of the values: 1 and True are equal, and other settings."""

    def merged(self, args: Sequence[Any], values: Mapping[int, Any] | None = None) -> list[Any]:
        """All arguments in their order; `values` may stand in for the static ones."""
        given, remaining = dict(self.values) if values is None else values, iter(args)
        return [given[i] if i in given else next(remaining) for i in range(len(args) + len(given))]

    def bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of the other arguments."""
        if not self.values:
            return function
        return lambda *args: function(*self.merged(args))


NOTHING = Static()
"""No static arguments."""


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
    static: Static = NOTHING
    with_rule: bool = False
    """Whether the forward pass is a function with a rule of its own for its derivative."""
    of_first: bool = False
    """Whether only the first leaf of the output has a gradient, as the loss beside a state."""
    forward_mode: bool = False
    """Whether the derivative is a rule for tangents, of which the cotangents are made."""


def _kept(make: Callable[..., Subject]) -> Callable[..., Subject]:
    """`make`, cached, where all of the functions and settings are hashable."""
    cached = functools.lru_cache(maxsize=32, typed=True)(make)

    @functools.wraps(make)
    def kept(*given: Any, **static: Any) -> Subject:
        told_apart = all(map(_is_hashable, (*given, *static.values())))
        return (cached if told_apart else make)(*given, **static)

    return kept


@_kept
def of_pair(
    fwd: Callable[..., Any], bwd: Callable[..., Any], reference: Any, static: Static = NOTHING
) -> Subject:
    """`fwd(*args) -> (output, residuals)` and `bwd(residuals, d_output)`, as `jax.custom_vjp` has them.

    A `bwd` with parameters for them is given the static arguments first, as with `nondiff_argnums`.
    """
    _callable("fwd", fwd)
    _callable("bwd", bwd)
    first = [value for _, value in static.values] if _takes(bwd, 2 + len(static.values)) else []

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        output, residuals = _two(fwd(*static.merged(args)))
        return output, bwd(*first, residuals, contained_as(output, d_output))

    call = f"verify.check({name_of(fwd, 'fwd')}, {name_of(bwd, 'bwd')}, {{args}}{_against(reference)})"

    def forward(*args: PyTree) -> PyTree:
        return _two(fwd(*static.merged(args)))[0]

    return _subject(fwd, forward, run, reference, call, static)


@_kept
def of_op(op: Any, reference: Any, bound: Static = NOTHING, /, **static: Any) -> Subject:
    """An object with `fwd([params,] *inputs, **static)` and `bwd([params,] residuals, d_output, **static)`.

    A single cotangent may be bare, and arguments without one have no entry.
    """
    _callable("op.fwd", getattr(op, "fwd", None))
    _callable("op.bwd", getattr(op, "bwd", None))

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        output, residuals = _two(op.fwd(*bound.merged(args), **static))
        params = args[:1] if _takes(op.bwd, 3) else ()
        given = op.bwd(*params, residuals, contained_as(output, d_output), **static)
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
    call = f"verify.check_op({name_of(op, 'op')}, {{args}}{_against(reference)}{extra})"

    def forward(*args: PyTree) -> PyTree:
        return _two(op.fwd(*bound.merged(args), **static))[0]

    if reference is not None:
        _callable("reference", reference)
    plain = reference and (lambda *args: reference(*args, **static))
    return _subject(op.fwd, forward, run, plain, call, bound)


@_kept
def of_function(f: Callable[..., Any], reference: Any, static: Static = NOTHING) -> Subject:
    """A function with its own `jax.custom_vjp`, against a plain one."""
    bound = _plain_function("check_function", f, reference, static)

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        return value_and_vjp(bound, args, d_output)

    call = f"verify.check_function({name_of(f, 'f')}, {{args}}{_against(reference)})"
    return _subject(f, bound, run, reference, call, static)._replace(with_rule=True)


@_kept
def of_jvp(f: Callable[..., Any], reference: Any, static: Static = NOTHING) -> Subject:
    """A function with its own `jax.custom_jvp`, against a plain one.

    A cotangent is made of the tangents of the output for each entry of the arguments, one at a time: so is
    the rule itself looked at, and not what reverse mode makes of it. Where there are many entries that would
    take too long, and reverse mode does it.
    """
    bound = _plain_function("check_jvp", f, reference, static)

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        if sum(np.size(x) for x in floats(args)) > MOST_TANGENTS:
            return value_and_vjp(bound, args, d_output)
        return bound(*args), _from_tangents(bound, args, d_output)

    call = f"verify.check_jvp({name_of(f, 'f')}, {{args}}{_against(reference)})"
    subject = _subject(f, bound, run, reference, call, static)
    return subject._replace(with_rule=True, forward_mode=True)


MOST_TANGENTS = 1024
"""The most entries of the arguments for each of which the tangent of the output is computed."""


def pushed(f: Callable[..., PyTree], args: tuple[PyTree, ...], tangents: Sequence[Any]) -> PyTree:
    """The tangent of the output for those of the floating leaves; the others' are not looked at."""
    leaves, tree = jax.tree.flatten(args)
    numbers = [i for i, x in enumerate(leaves) if is_floating(x)]

    def of_floating(*given: Any) -> PyTree:
        replaced = dict(zip(numbers, given, strict=True))
        return f(*jax.tree.unflatten(tree, [replaced.get(i, x) for i, x in enumerate(leaves)]))

    return jax.jvp(of_floating, [leaves[i] for i in numbers], [tangents[i] for i in numbers])[1]


def _from_tangents(f: Callable[..., PyTree], args: tuple[PyTree, ...], d_output: PyTree) -> Any:
    """The cotangents of all floating leaves, from the tangents of the output for each of their entries."""
    leaves, tree = jax.tree.flatten(args)

    def of_leaf(number: int) -> Any:
        x = leaves[number]
        if not is_floating(x):
            return None

        def entry(one: Any) -> Any:
            tangents = [
                one.reshape(jnp.shape(x))
                if i == number
                else jnp.zeros_like(other)
                if is_floating(other)
                else None
                for i, other in enumerate(leaves)
            ]
            pairs = zip(floats(pushed(f, args, tangents)), floats(d_output), strict=True)
            return sum(jnp.sum(_at_least_float32(t) * _at_least_float32(d)) for t, d in pairs)

        entries = jax.vmap(entry)(jnp.eye(jnp.size(x), dtype=x.dtype))
        return entries.reshape(jnp.shape(x)).astype(x.dtype)

    return jax.tree.unflatten(tree, [of_leaf(number) for number in range(len(leaves))])


def _at_least_float32(x: Any) -> Any:
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


@_kept
def of_value_and_grad(value_and_grad: Callable[..., Any], loss: Any, static: Static = NOTHING) -> Subject:
    """`value_and_grad(params, *data) -> (value, grads)`, against the gradient of a loss by `params`.

    Where the value is a pair of a loss and what else comes of it, as a state, only the loss has a gradient.
    """
    _callable("value_and_grad", value_and_grad)
    if loss is None:
        raise TypeError("check_value_and_grad: reference was None; expected the loss, a plain function")

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        value, grads = _value_and_grads(value_and_grad(*static.merged(args)))
        d = jax.tree.leaves(d_output)[0]
        scaled = jax.tree.map(lambda g: (g * d.astype(g.dtype)) if is_floating(g) else None, grads)
        return value, (scaled, *[NOT_ASKED] * (len(args) - 1))

    def forward(*args: PyTree) -> PyTree:
        return _value_and_grads(value_and_grad(*static.merged(args)))[0]

    _callable("reference", loss)

    @functools.wraps(loss)
    def reference(*args: PyTree) -> PyTree:
        found = loss(*args)
        return (found[0], jax.lax.stop_gradient(found[1])) if isinstance(found, tuple) else found

    call = (
        f"verify.check_value_and_grad({name_of(value_and_grad, 'value_and_grad')}, {{args}}{_against(loss)})"
    )
    return _subject(value_and_grad, forward, run, reference, call, static)._replace(of_first=True)


def _value_and_grads(returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        found = f"{len(returned)} things" if isinstance(returned, tuple) else kind(returned)
        raise TypeError(f"verify: value_and_grad returned {found}; expected (loss, gradients)")
    return returned


def _plain_function(what: str, f: Any, reference: Any, static: Static) -> Callable[..., Any]:
    """`f` of the arguments that are not static."""
    _callable("f", f)
    if reference is None:
        raise TypeError(f"{what}: reference was None; expected a plain function to hold f against")
    return static.bound(f)


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function has so many positional parameters."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) == count


def name_of(value: Any, otherwise: str) -> str:
    """A name that the user may have for it: of a function or a module, not of a lambda."""
    name = getattr(value, "__name__", otherwise).rpartition(".")[2]
    return name if name.isidentifier() else otherwise


def _against(reference: Any) -> str:
    return f", reference={name_of(reference, 'reference')}" if reference is not None else ""


def _subject(
    function: Any, forward: Any, run: Any, reference: Any, call: str, static: Static = NOTHING
) -> Subject:
    if reference is not None:
        _callable("reference", reference)
    name = name_of(function, "a function")

    def names(count: int) -> tuple[str, ...]:
        found = (_parameters(f, count, static) for f in (function, reference))
        return next(filter(None, found), None) or tuple(f"args[{i}]" for i in range(count))

    plain = _hashable(forward if reference is None else static.bound(reference))
    return Subject(name, _hashable(forward), run, plain, reference is None, names, call, static)


def _parameters(function: Any, count: int, static: Static) -> tuple[str, ...]:
    """The names of the parameters that are not static; nothing where there are too few with names."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()
    fixed = {i for i, _ in static.values}
    parameters = [name for i, name in enumerate(parameters) if i not in fixed]
    fitting = len(parameters) >= count and "args" not in parameters[:count]
    return tuple(parameters[:count]) if fitting else ()


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
