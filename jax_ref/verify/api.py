"""The entry points: a pair, an op or a function with a gradient of its own, and what is said of bad use."""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, PyTree

from jax_ref.verify import second_order, subject
from jax_ref.verify.clock import Clock
from jax_ref.verify.findings import Report
from jax_ref.verify.options import KINKS, LEVELS, ORDERS, PARTS, PRECISION, Asked, Options
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points import domain
from jax_ref.verify.program.raised import told
from jax_ref.verify.report import assemble, shrink
from jax_ref.verify.runner import run_checks
from jax_ref.verify.subject import Static, Subject
from jax_ref.verify.trees import cast, dtype_of, is_floating, is_floating_dtype, kind, labelled

STRATEGY_EXAMPLES = 10
"""How many are drawn from a strategy."""


def check(
    fwd: Callable[..., Any],
    bwd: Callable[..., Any],
    *args: PyTree,
    reference: Callable[..., PyTree] | None = None,
    **options: Unpack[Asked],
) -> Report:
    """Check `fwd(*args) -> (output, residuals)` with `bwd(residuals, d_output) -> cotangents`.

    `bwd` returns a tuple with one entry for each argument, None where it is not differentiable, as
    `jax.custom_vjp` has it. `reference` is a plain function of the same arguments that returns the output;
    without it the output of `fwd` is differentiated. `args`, and each of `examples`, are one example:
    arrays and pytrees of them; settings are bound with `functools.partial` or named in `static_argnums`.
    The verifier makes others from it. A reference that draws random numbers is differentiated in its own
    dtypes, as float64 draws others.

    The report is in `report.ok`, `.leaves`, `.findings` (of a kind in `verify.KINDS`), `.undecided`, `.notes`
    and `.tried`. What the functions raise at sizes, dtypes and values of the verifier's making is in the
    report; bad use raises TypeError or ValueError. The options:

    seed            of all that is drawn
    level           "quick" (two points, linearity), "default", or "thorough" (four times the ladder)
    examples        more argument tuples, or a Hypothesis strategy for them
    dtypes          the floating dtypes to check in, instead of the example's own
    domain          what arguments are valid, so that no point is outside: open intervals by path, as
                    {"x": (0, jnp.inf)}, or a function that makes any arguments valid ones, as
                    `lambda a: a @ a.T + jnp.eye(len(a))`
    skip            parts to leave out, of `options.PARTS`, each with the reason, which the report repeats
    kinks           "undecided", or "autodiff" where JAX's convention is to be met at kinks and ties too
    precision       where an imprecise cotangent, right in float64 but with fewer digits than autodiff's own
                    in its dtype, is a fault: "everywhere", "example" (at the given values, and in batches
                    of them), or "report" (nowhere: it is told)
    rtol            how far both sides may be apart, as a share of the norm of each leaf, where they are
                    solved by iteration
    order           2 to check the gradient of the gradient too
    time_limit      seconds after which it reports what was done; what is being compiled then is waited for
    static_argnums  positions of arguments that are plain values; a `bwd` with parameters for them is given
                    them first, as with `nondiff_argnums`
    """
    return _run(lambda static: subject.of_pair(fwd, bwd, reference, static), args, options)


def check_op(
    op: Any,
    *args: PyTree,
    reference: Callable[..., PyTree] | None = None,
    **options: Any,
) -> Report:
    """Check `op.fwd([params,] *inputs, **static)` with `op.bwd([params,] residuals, d_output, **static)`.

    `op.bwd` returns the cotangents of the arguments of floating point, in order, a single one bare. Keywords
    that are no options of `check` are the op's own.
    """
    own = {name: value for name, value in options.items() if name not in Asked.__annotations__}
    asked = {name: value for name, value in options.items() if name not in own}
    return _run(lambda static: subject.of_op(op, reference, static, **own), args, asked)


def check_function(
    f: Callable[..., PyTree],
    *args: PyTree,
    reference: Callable[..., PyTree] | None = None,
    **options: Unpack[Asked],
) -> Report:
    """Check a function with a `jax.custom_vjp` of its own against the plain function `reference`."""
    return _run(lambda static: subject.of_function(f, reference, static), args, _with_own_static(f, options))


def check_jvp(
    f: Callable[..., PyTree],
    *args: PyTree,
    reference: Callable[..., PyTree] | None = None,
    **options: Unpack[Asked],
) -> Report:
    """Check a function with a `jax.custom_jvp` of its own: the values of its rule, and that it is linear."""
    return _run(lambda static: subject.of_jvp(f, reference, static), args, _with_own_static(f, options))


def check_value_and_grad(
    value_and_grad: Callable[..., tuple[Any, PyTree]],
    params: PyTree,
    *data: PyTree,
    reference: Callable[..., PyTree] | None = None,
    **options: Unpack[Asked],
) -> Report:
    """Check `value_and_grad(params, *data) -> (loss, gradients)` against `reference`, the plain loss.

    The gradients are by `params` alone. A value that is a pair `(loss, state)` is held against that of a
    `reference` that returns such a pair.
    """
    report = _run(
        lambda static: subject.of_value_and_grad(value_and_grad, reference, static), (params, *data), options
    )
    return report._replace(leaves=tuple(leaf for leaf in report.leaves if leaf.verdict != "not looked at"))


def assert_gradients(first: Any, *args: Any, **options: Any) -> None:
    """Raise `AssertionError` with the report unless the gradient is right.

    `first` is an op; or a forward pass, followed by its backward; or a function with a `custom_vjp`,
    where the argument after it is no function. The rest is as in the function that checks it.
    """
    __tracebackhide__ = True  # pytest shows the caller's line, and the report
    if hasattr(first, "fwd") and hasattr(first, "bwd") and not isinstance(first, jax.custom_vjp):
        report = check_op(first, *args, **options)
    elif args and callable(args[0]):
        report = check(first, *args, **options)
    else:
        report = check_function(first, *args, **options)
    if not report.ok:
        raise AssertionError(str(report))


def _run(make: Callable[[Static], Subject], args: tuple[PyTree, ...], asked: Mapping[str, Any]) -> Report:
    """The report on the subject that `make` makes of the static arguments."""
    __tracebackhide__ = True
    for name in asked:
        _choice("an option", name, list(Asked.__annotations__))
    keywords = {name: value for name, value in asked.items() if name in Options._fields}
    options = _options(Options(**keywords))
    examples = _examples(args, asked.get("examples", ()))
    static, given = _apart(examples, asked.get("static_argnums", ()))
    what = make(static)
    prepared = [_prepared(example, what) for example in given]
    of_user = 1 if args else 0
    given = prepared[:of_user] if _is_strategy(asked.get("examples", ())) else prepared
    names = what.names(len(prepared[0]))
    _known_domain(options.domain, labelled(prepared[0], names))
    _in_domain(options.domain, given, names)
    prepared = [*given, *(domain.within(options.domain, args, names) for args in prepared[len(given) :])]
    clock = Clock(options.time_limit)
    prepared, notes = _in_dtypes(prepared, asked.get("dtypes", ()), what)
    try:
        report = assemble.report(run_checks(what, prepared, options, clock), prepared)
        report = shrink.shrunk(what, report, options, clock)
        if options.order == 2:
            report = second_order.added(what, prepared, options, report, clock)
        if options.rtol:
            notes.append(f"rtol: both sides may be {options.rtol:g} of a leaf's norm apart")
        return report._replace(notes=(*report.notes, *notes))
    except TypeError as error:
        raise _with_static(error, what, prepared[0]) from error.__cause__
    finally:
        clock.clear()


def _options(options: Options) -> Options:
    """The options, each of which is what it must be."""
    if not isinstance(options.seed, int | np.integer) or options.seed < 0:
        raise ValueError(f"verify: seed was {options.seed!r}; expected an integer from 0")
    _choice("level", options.level, LEVELS)
    _choice("kinks", options.kinks, KINKS)
    _choice("precision", options.precision, PRECISION)
    _choice("order", options.order, ORDERS)
    _reasons(options.skip)
    _number("rtol", options.rtol, "from 0 to below 1", lambda x: 0 <= x < 1)
    if options.time_limit is not None:
        _number("time_limit", options.time_limit, "of seconds above 0", lambda x: x > 0)
    return options


def _number(name: str, value: Any, what: str, holds: Callable[[Any], bool]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not holds(value):
        raise ValueError(f"verify: {name} was {value!r}; expected a number {what}")


def _examples(args: tuple[PyTree, ...], examples: Any) -> list[Any]:
    if _is_strategy(examples):
        from jax_ref.verify import strategies  # Hypothesis is there if one of its strategies is

        examples = strategies.drawn(examples, STRATEGY_EXAMPLES)
    given = [args, *examples] if args else list(examples)
    if not given:
        raise TypeError("verify: no arguments were given; expected an example of the function's arguments")
    for example in given:
        if not isinstance(example, tuple | list):
            raise TypeError(f"verify: an example was {kind(example)}; expected a tuple of arguments")
    return given


def _is_strategy(examples: Any) -> bool:
    return not isinstance(examples, Sequence)


def _apart(examples: list[Any], static_argnums: Any) -> tuple[Static, list[tuple[PyTree, ...]]]:
    """The static arguments, which are the same in all examples, and the examples without them."""
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    count = len(examples[0])
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not -count <= number < count:
            raise ValueError(
                f"verify: static_argnums named {number!r}; expected positions among {count} arguments"
            )
    fixed = sorted({number % count for number in numbers})
    values = [[example[i] for i in fixed if i < len(example)] for example in examples]
    try:
        same = all(bool(other == values[0]) for other in values[1:])
    except Exception:  # arrays have no single answer
        same = False
    if not same:
        raise ValueError("verify: a static argument is another in some of the examples; check these apart")
    static = Static(tuple(zip(fixed, values[0], strict=True)), tuple(type(x) for x in values[0]))
    return static, [tuple(x for i, x in enumerate(example) if i not in fixed) for example in examples]


def _with_own_static(f: Any, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, with the function's own `nondiff_argnums` for static ones unless others are named."""
    own = getattr(f, "nondiff_argnums", ())
    return {"static_argnums": own, **options} if own else options


def _with_static(error: TypeError, what: Subject, example: tuple[PyTree, ...]) -> TypeError:
    """The error; where it would not be raised were some arguments static, it says so."""
    if not str(error).startswith("verify:"):
        return error
    names = what.names(len(example))
    for i, x in enumerate(example):
        if np.ndim(x) or not hasattr(x, "dtype") or is_floating(x) or len(jax.tree.leaves(x)) != 1:
            continue
        others = (*example[:i], *example[i + 1 :])
        try:
            jax.eval_shape(lambda *args, i=i, x=x: what.reference(*args[:i], x.item(), *args[i:]), *others)
        except Exception:  # it is not this argument, or not alone
            continue
        said = str(error).partition("; arguments are traced")[0]
        return TypeError(
            f"{said}; {names[i]} must be a plain value: bind it with functools.partial, or name its "
            f"position, static_argnums=({i},)"
        )
    return error


def _known_domain(inside: Any, leaves: Mapping[str, Any]) -> None:
    if inside is None or callable(inside):
        return
    if not isinstance(inside, Mapping):
        raise TypeError(
            f"verify: domain was {inside!r}; expected intervals by path, as {{'x': (0, jnp.inf)}}, or a "
            "function of the arguments"
        )
    for path, interval in inside.items():
        if not domain.names_a_leaf(path, leaves):
            _choice("domain", path, list(leaves))
        if not isinstance(interval, tuple | list) or len(interval) != 2 or not interval[0] < interval[1]:
            raise ValueError(
                f"verify: domain[{path!r}] was {interval!r}; expected (low, high) with low < high"
            )


def _in_domain(inside: Any, examples: list[tuple[PyTree, ...]], names: tuple[str, ...]) -> None:
    """What a user gives is not moved: it must be valid."""
    for example in examples if isinstance(inside, Mapping) else ():
        problem = domain.outside(inside, example, names)
        if problem:
            raise ValueError(f"verify: {problem}; expected an example of the domain")


def _in_dtypes(
    examples: list[tuple[PyTree, ...]], dtypes: Any, what: Subject
) -> tuple[list[tuple[PyTree, ...]], list[str]]:
    """The examples in each dtype that the reference takes, and notes on the others."""
    if isinstance(dtypes, str) or not isinstance(dtypes, Sequence):
        raise TypeError(f"verify: dtypes was {dtypes!r}; expected a list, as [jnp.float32, jnp.bfloat16]")
    if not dtypes:
        return examples, []
    found, notes = [], []
    for dtype in dtypes:
        several = [_cast(example, dtype) for example in examples]
        try:
            with x64_for(several):
                for example in several:
                    jax.eval_shape(what.reference, *example)
        except Exception as error:  # of the user's code, which may be made for some dtypes only
            notes.append(f"not tried in {jnp.dtype(dtype).name}: the reference raises {told(error)}")
        else:
            found += several
    return found or [_cast(example, dtypes[0]) for example in examples], notes if found else []


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
        else "; what is no array is bound with functools.partial or named in static_argnums"
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
        raise TypeError(
            f"verify: {name} is complex; expected real floating point, integers or booleans: let fwd and the "
            "reference take its real and its imaginary part, two arguments"
        )
    return np.asarray(leaf, jax.dtypes.canonicalize_dtype(dtype))


def _choice(name: str, value: Any, known: Collection[Any]) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), list(map(str, known)), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"verify: {name} was {value!r}; {hint}expected one of {', '.join(map(str, known))}")
