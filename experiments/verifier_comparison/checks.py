r"""The checks of a hand-written backward that people use, and ours, each asked about one pair fwd, bwd.

Each is called with its own defaults, on what its documentation asks for:

- `jax.test_util.check_grads` of the compiled function that `jax.custom_vjp` makes of the pair, order 1,
  modes=("rev",), as no such function has a forward mode. It differences along one direction, for one
  cotangent; its tolerances are 2e-3 in float32 and 1e-5 in float64.
- `chex.assert_numerical_grads` wants a scalar, and checks in float32 as a rule. The scalar is the sum of the
  output times an array drawn once; a plain sum has the cotangent 1 everywhere, which hides mistakes.
- `torch.autograd.gradcheck` of a `torch.autograd.Function` that calls the compiled pair. It compares every
  entry of the Jacobian, with a step of 1e-6; its documentation asks for float64 and says that float32 is
  likely to fail. Above `FULL_JACOBIAN` entries, which take gigabytes, it is told fast_mode=True, which
  projects the Jacobian at random and sees less. PyTorch itself sums a gradient down to the shape of its
  input and casts it to its dtype.
- ours is `jax_ref.verify.check`; it alone is given the reference.

All but ours differentiate the floating leaves and close over the others, whose cotangent JAX and PyTorch
drop unseen; so some mistakes of structure do no harm there. They answer with numbers that differ, ours with
kinds of mistakes as well, and ours alone is asked in dtypes of 16 bits, too few for differences. Each is
asked as in a process of its own: without x64 but in float64, with JAX's own rules of promotion.
"""

import contextlib
import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from jaxtyping import Array

from jax_ref import verify
from jax_ref.verify import oracle

torch: Any = importlib.import_module("torch") if importlib.util.find_spec("torch") else None

FULL_JACOBIAN = 30_000_000
"""Entries up to which gradcheck is asked for the whole Jacobian; it holds several of this size."""


class Case(NamedTuple):
    """A pair in `jax.custom_vjp`'s convention, the plain function, and arguments, drawn by `seed`."""

    fwd: Callable[..., Any]
    bwd: Callable[..., Any]
    reference: Callable[..., Any]
    args: tuple[Any, ...]
    seed: tuple[int, ...]


class Answer(NamedTuple):
    """Whether a check complains, of which kinds of `verify.KINDS` if it knows them, or what it raised."""

    complains: bool
    kinds: tuple[str, ...] = ()
    raised: str = ""
    """An error that is not the check's way to complain; it is a complaint all the same."""
    seconds: float = 0.0


Check = Callable[[Case], Answer]
"""A case in the check's dtype to its answer."""


def by_check_grads(case: Case) -> Answer:
    """`jax.test_util.check_grads`."""
    f, leaves = _function_of_leaves(case)
    return _complaint(AssertionError, lambda: check_grads(f, leaves, order=1, modes=("rev",)))


def by_chex(case: Case) -> Answer:
    """`chex.assert_numerical_grads`."""
    f, leaves = _function_of_leaves(case)
    rng = np.random.default_rng((*case.seed, 1))
    weights = jax.tree.map(
        lambda y: jnp.asarray(rng.normal(size=y.shape), y.dtype), jax.eval_shape(f, *leaves)
    )

    def weighted_sum(*given: Array) -> Array:
        products = jax.tree.map(lambda y, w: jnp.sum(y * w), f(*given), weights)
        return sum(jax.tree.leaves(products), start=jnp.zeros(()))

    return _complaint(
        AssertionError, lambda: chex.assert_numerical_grads(weighted_sum, leaves, order=1, modes=("rev",))
    )


def by_gradcheck(case: Case) -> Answer:
    """`torch.autograd.gradcheck`."""
    module = importlib.import_module("torch.autograd.gradcheck")
    function, tensors = _function_of_tensors(case)
    outputs = jax.tree.leaves(jax.eval_shape(lambda *args: case.fwd(*args)[0], *case.args))
    entries = sum(t.numel() for t in tensors) * sum(y.size for y in outputs)
    if entries <= FULL_JACOBIAN:
        return _complaint(module.GradcheckError, lambda: module.gradcheck(function, tensors))
    # for the message of a complaint, which is not read here, it would compute the whole Jacobian after all
    with mock.patch.object(module, "_run_slow_mode_and_get_error", create=True, return_value=""):
        return _complaint(module.GradcheckError, lambda: module.gradcheck(function, tensors, fast_mode=True))


def by_ours(case: Case) -> Answer:
    """`jax_ref.verify.check`."""
    report = verify.check(
        case.fwd, case.bwd, *case.args, reference=case.reference, skip={"shrinking": "only the kind is read"}
    )
    return Answer(not report.ok, tuple(finding.kind for finding in report.findings))


CHECKS: dict[str, tuple[str, Check]] = {
    "check_grads float32": ("float32", by_check_grads),
    "check_grads float64": ("float64", by_check_grads),
    "chex float32": ("float32", by_chex),
    **(
        {"gradcheck float32": ("float32", by_gradcheck), "gradcheck float64": ("float64", by_gradcheck)}
        if torch is not None
        else {}
    ),
    **{f"ours {dtype}": (dtype, by_ours) for dtype in ("bfloat16", "float16", "float32", "float64")},
}
"""The dtype of each check, and the check; PyTorch's only where that is installed."""


def ask(name: str, case: Case) -> Answer:
    """What the check `name` of `CHECKS` says of a case, whose arguments it gets in its dtype."""
    dtype, check = CHECKS[name]
    with _process_of_its_own(dtype):
        case = case._replace(args=jax.tree.map(jnp.asarray, oracle.cast(case.args, dtype)))
        start = time.perf_counter()
        try:
            answer = check(case)
        except Exception as error:  # whatever the pair or the check raises
            answer = Answer(True, raised=f"{type(error).__name__}: {error}")
        return answer._replace(seconds=time.perf_counter() - start)


@contextlib.contextmanager
def _process_of_its_own(dtype: str) -> Iterator[None]:
    """What JAX does by default, with x64 where the dtype needs it; and silence about NaN and float32."""
    with (
        jax.enable_x64(dtype == "float64"),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _complaint(failure: type[Exception], check: Callable[[], Any]) -> Answer:
    try:
        check()
    except failure:
        return Answer(True)
    return Answer(False)


def _function_of_leaves(case: Case) -> tuple[Callable[..., Any], list[Array]]:
    """The custom_vjp of the pair as a function of the floating leaves alone, and these."""
    function = jax.custom_vjp(lambda *args: case.fwd(*args)[0])
    function.defvjp(case.fwd, case.bwd)
    # compiled, as check_grads hands a backward NumPy arrays otherwise, which it may not be written for
    return jax.jit(lambda *given: function(*_merged(case.args, given))), _floating(case.args)


def _function_of_tensors(case: Case) -> tuple[Callable[..., Any], list[Any]]:
    """The pair, compiled, as a PyTorch function of the floating leaves alone, and these."""
    fwd, bwd = jax.jit(case.fwd), jax.jit(case.bwd)

    class Pair(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            output, ctx.residuals = fwd(*_merged(case.args, map(_array, tensors)))
            leaves, ctx.tree = jax.tree.flatten(output)
            return tuple(map(_tensor, leaves))

        @staticmethod
        def backward(ctx: Any, *d_outputs: Any) -> Any:
            d_output = jax.tree.unflatten(ctx.tree, list(map(_array, d_outputs)))
            given = zip(case.args, bwd(ctx.residuals, d_output), strict=False)  # PyTorch counts them itself
            wanted = [cotangent for arg, cotangent in given if _floating(arg)]
            leaves = jax.tree.leaves(wanted, is_leaf=lambda leaf: leaf is None)
            return tuple(None if leaf is None else _tensor(leaf) for leaf in leaves)

    return Pair.apply, [_tensor(leaf).requires_grad_() for leaf in _floating(case.args)]


def _floating(tree: Any) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if oracle.is_floating(leaf)]


def _merged(args: tuple[Any, ...], floating: Iterable[Any]) -> Any:
    """The arguments with other floating leaves."""
    remaining = iter(floating)
    return jax.tree.map(lambda x: next(remaining) if oracle.is_floating(x) else x, args)


def _tensor(array: Array) -> Any:
    if array.dtype == jnp.bfloat16:  # NumPy's is not PyTorch's
        return torch.from_numpy(np.array(array, np.float32)).bfloat16()
    return torch.from_numpy(np.array(array))


def _array(tensor: Any) -> Array:
    return jnp.asarray(tensor.detach().numpy())
