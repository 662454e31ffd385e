"""The entry points: a pair, an op or a function with a gradient of its own, and what is said of bad use."""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, PyTree

from jax_ref.verify import subject
from jax_ref.verify.findings import Report
from jax_ref.verify.options import KINKS, LEVELS, PARTS, PRECISION, Options
from jax_ref.verify.report import assemble, shrink
from jax_ref.verify.runner import run_checks
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import cast, dtype_of, is_floating, is_floating_dtype, kind, labelled

Examples = Sequence[tuple[PyTree, ...]] | Any
"""A list of argument tuples, or a Hypothesis strategy for them."""

NOTHING: Mapping[str, str] = {}

STRATEGY_EXAMPLES = 10
"""How many are drawn from a strategy."""


def check(
    fwd: Callable[..., Any],
    bwd: Callable[..., Any],
    *args: PyTree,
    reference: Callable[..., PyTree] | None = None,
    seed: int = 0,
    level: str = "default",
    examples: Examples = (),
    dtypes: Sequence[DTypeLike] = (),
    skip: Mapping[str, str] = NOTHING,
    kinks: str = "undecided",
    precision: str = "example",
) -> Report:
    """Check `fwd(*args) -> (output, residuals)` with `bwd(residuals, d_output) -> cotangents`.

    `bwd` returns a tuple with one entry for each argument, None where it is not differentiable, as
    `jax.custom_vjp` has it. `reference` is a plain function of the same arguments that returns the output;
    without it the output of `fwd` is differentiated. `args`, and each of `examples`, are one example: arrays
    and pytrees of them; settings are bound with `functools.partial`. The verifier makes others from it. A
    reference that draws random numbers is differentiated in its own dtypes, as float64 draws others.

    The report is in `report.ok`, `.leaves`, `.findings` (of a kind in `verify.KINDS`), `.undecided` and
    `.notes`. Bad use raises TypeError or ValueError. The options:

    level       "quick" (two points, linearity), "default", or "thorough" (four times the ladder)
    examples    more argument tuples, or a Hypothesis strategy for them
    dtypes      the floating dtypes to check in, instead of the example's own
    skip        parts to leave out, of `options.PARTS`, each with the reason, which the report repeats
    kinks       "undecided", or "autodiff" where JAX's convention is to be met at kinks and ties too
    precision   where an imprecise cotangent, right in float64 but with fewer digits than autodiff's own in
                its dtype, is a fault: "everywhere", "example" (at the given values, and in batches of them),
                or "report" (nowhere: it is told)
    """
    options = Options(seed, level, skip, kinks, precision)
    return _run(subject.of_pair(fwd, bwd, reference), args, options, examples, dtypes)


def check_op(
    op: Any,
    *args: PyTree,
    reference: Callable[..., PyTree] | None = None,
    seed: int = 0,
    level: str = "default",
    examples: Examples = (),
    dtypes: Sequence[DTypeLike] = (),
    skip: Mapping[str, str] = NOTHING,
    kinks: str = "undecided",
    precision: str = "example",
    **static: Any,
) -> Report:
    """Check `op.fwd([params,] *inputs, **static)` with `op.bwd([params,] residuals, d_output, **static)`.

    `op.bwd` returns the cotangents of the arguments of floating point, in order, a single one bare. The rest
    is as in `check`.
    """
    options = Options(seed, level, skip, kinks, precision)
    return _run(subject.of_op(op, reference, **static), args, options, examples, dtypes)


def check_function(
    f: Callable[..., PyTree],
    *args: PyTree,
    reference: Callable[..., PyTree] | None = None,
    seed: int = 0,
    level: str = "default",
    examples: Examples = (),
    dtypes: Sequence[DTypeLike] = (),
    skip: Mapping[str, str] = NOTHING,
    kinks: str = "undecided",
    precision: str = "example",
) -> Report:
    """Check a function with a `jax.custom_vjp` of its own against the plain function `reference`."""
    options = Options(seed, level, skip, kinks, precision)
    return _run(subject.of_function(f, reference), args, options, examples, dtypes)


def assert_gradients(first: Any, *args: Any, **options: Any) -> None:
    """Raise `AssertionError` with the report unless the gradient is right.

    `first` is an op; or a forward pass, followed by its backward; or a function with a `custom_vjp`,
    where the argument after it is no function. The rest is as in the function that checks it.
    """
    if hasattr(first, "fwd") and hasattr(first, "bwd") and not isinstance(first, jax.custom_vjp):
        report = check_op(first, *args, **options)
    elif args and callable(args[0]):
        report = check(first, *args, **options)
    else:
        report = check_function(first, *args, **options)
    if not report.ok:
        raise AssertionError(str(report))


def _run(
    what: Subject,
    args: tuple[PyTree, ...],
    options: Options,
    examples: Examples,
    dtypes: Sequence[DTypeLike],
) -> Report:
    if not isinstance(options.seed, int | np.integer) or options.seed < 0:
        raise ValueError(f"verify: seed was {options.seed!r}; expected an integer from 0")
    _choice("level", options.level, LEVELS)
    _choice("kinks", options.kinks, KINKS)
    _choice("precision", options.precision, PRECISION)
    _reasons(options.skip)
    if not isinstance(examples, Sequence):
        from jax_ref.verify import strategies  # Hypothesis is there if one of its strategies is

        examples = strategies.drawn(examples, STRATEGY_EXAMPLES)
    given = [args, *examples] if args else list(examples)
    if not given:
        raise TypeError("verify: no arguments were given; expected an example of the function's arguments")
    prepared = [_prepared(example, what) for example in given]
    if isinstance(dtypes, str) or not isinstance(dtypes, Sequence):
        raise TypeError(f"verify: dtypes was {dtypes!r}; expected a list, as [jnp.float32, jnp.bfloat16]")
    if dtypes:
        prepared = [_cast(example, dtype) for dtype in dtypes for example in prepared]
    report = assemble.report(run_checks(what, prepared, options), prepared)
    return shrink.shrunk(what, report, options)


def _reasons(skip: Any) -> None:
    if not isinstance(skip, Mapping):
        raise TypeError(
            f"verify: skip was {skip!r}; expected a part and the reason, as in {{'batches': 'why'}}"
        )
    for part, reason in skip.items():
        _choice("skip", part, PARTS)
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"verify: skip[{part!r}] was {reason!r}; expected the reason to leave it out")


def _cast(example: tuple[PyTree, ...], dtype: DTypeLike) -> tuple[PyTree, ...]:
    if not is_floating_dtype(dtype):
        raise TypeError(f"verify: dtypes named {dtype!r}; expected floating point, as jnp.bfloat16")
    return cast(example, dtype)


def _prepared(example: Any, what: Subject) -> tuple[PyTree, ...]:
    """The arguments of one example as arrays."""
    if not isinstance(example, tuple | list):
        raise TypeError(f"verify: an example was {kind(example)}; expected a tuple of arguments")
    named = labelled(tuple(example), what.names(len(example)))
    arrays = [_array(name, leaf) for name, leaf in named.items()]
    if not any(map(is_floating, arrays)):
        raise TypeError("verify: no argument is of floating point; expected one, to differentiate by")
    return jax.tree.unflatten(jax.tree.structure(tuple(example)), arrays)


def _array(name: str, leaf: Any) -> Any:
    """A leaf as NumPy holds it in the dtype that JAX would give it; PRNG keys as they are."""
    hint = (
        "; is it the reference? that is given as reference=..."
        if callable(leaf)
        else ("; what is no array is bound with functools.partial")
    )
    unfit = TypeError(f"verify: {name} was {leaf!r}; expected an array or a pytree of arrays{hint}")
    try:
        dtype = dtype_of(leaf)
    except TypeError:
        raise unfit from None
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return leaf
    if not jnp.issubdtype(dtype, np.number) and not jnp.issubdtype(dtype, np.bool_):
        raise unfit
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"verify: {name} is complex; expected real floating point, integers or booleans")
    return np.asarray(leaf, jax.dtypes.canonicalize_dtype(dtype))


def _choice(name: str, value: Any, known: Collection[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), list(known), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"verify: {name} was {value!r}; {hint}expected one of {', '.join(known)}")
