"""`differentiable`: the pair as an ordinary JAX function."""

import inspect
import pickle
import pydoc
import re
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from manual_bp import differentiable
from manual_bp.models import mlp
from manual_bp.ops import activations, dense, softmax, softmax_cross_entropy
from tests.cases import CASES, MODELS
from tests.close import close

X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)))
LABELS = jnp.arange(7) % 5
cross_entropy = differentiable(softmax_cross_entropy)


def test_it_is_the_hand_written_backward_that_runs():
    pair = activations.Activation(lambda z: (z, ()), lambda res, da: 42.0 * da)
    assert jax.grad(differentiable(pair))(1.0) == 42


def test_vmap_scan_and_unbatched_params():
    params = mlp.init(jax.random.key(0), [5, 4, 3], dtype=jnp.float64)
    ours, theirs = differentiable(mlp), jax_ref.models.mlp.apply

    def loss(f):
        def per_example(params, x):
            return jnp.sum(jnp.sin(f(params, x, activation="tanh")))

        def total(params):
            _, losses = jax.lax.scan(lambda _, x: (None, per_example(params, x)), None, X)
            return jnp.sum(losses) + jnp.sum(jax.vmap(per_example, (None, 0))(params, X))

        return total

    close(jax.grad(loss(ours))(params), jax.grad(loss(theirs))(params), 1e-12)


def test_second_derivatives_come_from_differentiating_bwd():
    def loss(f):
        return lambda z: jnp.sum(f(z) ** 3)

    ours = jax.grad(lambda z: jnp.sum(jax.grad(loss(differentiable(activations.gelu)))(z) ** 2))(X)
    plain = jax_ref.ops.activations.gelu
    close(ours, jax.grad(lambda z: jnp.sum(jax.grad(loss(plain))(z) ** 2))(X), 1e-12)


def test_hessians_work_and_forward_mode_of_the_function_itself_does_not():
    """Forward over reverse differentiates `bwd`, which is plain JAX."""
    ours, theirs = differentiable(softmax), jax_ref.ops.softmax.apply

    def second_order(f):
        def loss(x):
            return jnp.sum(jnp.sin(3 * f(x)))

        return jax.jit(lambda x, v: (jax.hessian(loss)(x), jax.jvp(jax.grad(loss), (x,), (v,))))

    x, v = X[0], X[1]
    close(second_order(ours)(x, v), second_order(theirs)(x, v), 1e-12)
    for forward in (lambda: jax.jvp(ours, (x,), (v,)), lambda: jax.jacfwd(ours)(x)):
        with pytest.raises(TypeError, match="can't apply forward-mode autodiff"):
            forward()


class _Pair(NamedTuple):
    fwd: Callable[..., Any]
    bwd: Callable[..., Any]


def _dropout_fwd(x, key, keep, *, rate):
    kept = jnp.where(keep, jax.random.bernoulli(key, 1 - rate, x.shape), True)
    return jnp.where(kept, x / (1 - rate), 0), (key, keep)


def _dropout_bwd(residuals, dy, *, rate):
    key, keep = residuals
    kept = jnp.where(keep, jax.random.bernoulli(key, 1 - rate, dy.shape), True)
    return jnp.where(kept, dy / (1 - rate), 0)


def test_keys_and_booleans_have_no_gradient():
    dropout = differentiable(_Pair(_dropout_fwd, _dropout_bwd))
    key, keep = jax.random.key(0), X > 0
    output, vjp = jax.vjp(lambda *args: dropout(*args, rate=0.5), X, key, keep)
    dx, dkey, dkeep = vjp(jnp.ones_like(output))
    assert np.array_equal(dx, output / X)
    assert dkey.dtype == dkeep.dtype == jax.dtypes.float0
    assert jnp.all(jax.jit(jax.grad(lambda x: dropout(x, key, keep, rate=0.5).sum()))(X) == dx)


def test_labels_and_weights():
    weights = jnp.arange(7.0)
    _, vjp = jax.vjp(cross_entropy, X, LABELS, weights)
    dx, dlabels, dweights = vjp(jnp.ones(7))
    assert dlabels.dtype == jax.dtypes.float0
    assert dlabels.shape == LABELS.shape
    assert np.allclose(dweights, cross_entropy(X, LABELS))
    assert np.allclose(dx[0], 0)


def test_arguments_by_name_and_static_options():
    mask = X > 0
    by_name = differentiable(softmax)(x=X, mask=mask, axis=0)
    close(by_name, jax_ref.ops.softmax.apply(X, mask, axis=0))
    close(jax.jit(lambda x: differentiable(softmax)(x, axis=0))(X), jax.nn.softmax(X, 0))


class Classifier(eqx.Module):
    """An Equinox module that uses two hand-written ops as it uses any function."""

    w: jax.Array
    b: jax.Array

    def __call__(self, x):
        z = differentiable(dense)(dense.Params(self.w, self.b), x)
        return differentiable(activations.gelu)(z)


def test_inside_an_equinox_module():
    model = Classifier(X[:5].T[:, :3], jnp.ones(3))

    def loss(model, x, labels):
        return jnp.mean(cross_entropy(jax.vmap(model)(x), labels, label_smoothing=0.1))

    def plain(model, x, labels):
        logits = jax.nn.gelu(x @ model.w + jnp.expand_dims(model.b, 0), approximate=False)
        smooth = 0.9 * jax.nn.one_hot(labels, 3) + 0.1 / 3
        return -jnp.mean(jnp.sum(smooth * jax.nn.log_softmax(logits), -1))

    labels = LABELS % 3
    ours = eqx.filter_jit(eqx.filter_value_and_grad(loss))(model, X, labels)
    close(ours, eqx.filter_value_and_grad(plain)(model, X, labels), 1e-12)


ALL = {name: case.op for name, case in (CASES | MODELS).items()}


@pytest.mark.parametrize("name", ALL)
def test_it_introduces_itself_as_its_op(name):
    """Name, place and signature are those of the op; its docstring is the op's own, with every option."""
    op, member = ALL[name], name.rpartition(".")[2]
    function = differentiable(op)
    assert function.__name__ == function.__qualname__ == member
    assert function.__module__ == op.fwd.__module__
    signature, of_fwd = inspect.signature(function), inspect.signature(op.fwd)
    assert signature.parameters == of_fwd.parameters
    assert signature.return_annotation in (inspect.Signature.empty, *get_args(of_fwd.return_annotation)[:1])
    own = op.__doc__ if op.__doc__ != type(op).__doc__ else op.fwd.__doc__
    assert inspect.cleandoc(own or "no docstring") in (function.__doc__ or "")
    options = [p for p in inspect.signature(op.fwd).parameters.values() if p.kind is p.KEYWORD_ONLY]
    *_, said = re.findall(r"^Static options: (.*)\.$", function.__doc__ or "", flags=re.M)
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in options]
    assert said == (", ".join(shown) or "none")
    page = pydoc.plain(pydoc.render_doc(function))
    assert "Method resolution order" not in page
    assert inspect.cleandoc(own or "").partition("\n")[0] in page


@pytest.mark.parametrize("member", activations.MEMBERS)
def test_help_of_an_activation_shows_its_row_of_the_table(member):
    page = pydoc.plain(pydoc.render_doc(activations.MEMBERS[member]))
    assert "Method resolution order" not in page
    shown = " ".join(page.split())
    a, slope, saved = re.findall(
        r"a = f\(z\) = (.*) dz = f'\(z\) da, f'\(z\) = (.*) saved: (.*) The letters", shown
    )[0]
    row = next(line for line in (activations.__doc__ or "").splitlines() if line.split()[:1] == [member])
    assert " ".join(row.split()).startswith(f"{member} {a} {slope} {saved} (")


def test_a_pair_without_a_docstring_has_that_of_its_fwd():
    def fwd(x, *, by=2):
        """Twice x."""
        return by * x, ()

    doc = differentiable(_Pair(fwd, lambda res, dy, *, by=2: by * dy)).__doc__
    assert doc is not None
    assert doc.startswith("Twice x.")
    assert "Static options: by=2." in doc


def _pair(fwd, bwd):
    return differentiable(activations.Activation(fwd, bwd))


def test_errors():
    with pytest.raises(TypeError, match="expected an object with fwd and bwd"):
        differentiable(len)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="bwd has 1 positional arguments; expected"):
        _pair(lambda x: (x, ()), lambda res: res)
    with pytest.raises(TypeError, match=r"static option axis was .*; expected a hashable value"):
        differentiable(softmax)(X, axis=[0])
    leaky_relu = differentiable(activations.leaky_relu)
    with pytest.raises(TypeError, match=r"slope was an array .*neither traced nor differentiated"):
        jax.grad(lambda slope: jnp.sum(leaky_relu(X, slope=slope)))(0.1)
    with pytest.raises(TypeError, match="argument x is complex"):
        differentiable(softmax)(jax.lax.complex(X, X))
    with pytest.raises(TypeError, match="argument x mixes leaves of float64, int"):
        _pair(lambda x: (x[0], ()), lambda res, dy: dy)((X, LABELS))
    with pytest.raises(TypeError, match="argument x was 'no'; expected arrays"):
        _pair(lambda x: (x, ()), lambda res, dy: dy)("no")
    two = _pair(lambda x, y: (x + y, ()), lambda res, dy: (dy, dy, dy))
    with pytest.raises(ValueError, match="bwd returned 3 cotangents; expected 2"):
        jax.grad(two)(1.0, 2.0)
    bare = _pair(lambda x, y: (x + y, ()), lambda res, dy: dy)
    with pytest.raises(ValueError, match="bwd returned 1 cotangents; expected 2"):
        jax.grad(bare)(1.0, 2.0)
    with pytest.raises(TypeError, match="missing a required argument: 'targets'"):
        cross_entropy(X)


@pytest.mark.parametrize("member", activations.MEMBERS)
def test_a_python_number_is_taken_as_jax_takes_it(member):
    ours, theirs = differentiable(activations.MEMBERS[member]), getattr(jax_ref.ops.activations, member)
    assert np.allclose(ours(0.5), theirs(jnp.asarray(0.5)), rtol=1e-6)
    for grad in (jax.grad(ours), jax.jit(jax.grad(ours))):
        assert np.allclose(grad(0.5), jax.grad(theirs)(0.5), rtol=1e-6)


@pytest.mark.parametrize("op", [dense, mlp, activations.gelu], ids=["op", "model", "pair"])
def test_it_can_be_pickled(op):
    again = pickle.loads(pickle.dumps(differentiable(op)))
    assert again.__name__ == differentiable(op).__name__
    assert inspect.signature(again) == inspect.signature(differentiable(op))


def test_a_pickled_one_computes_the_same():
    ours, again = (jax.grad(lambda x, f=f: f(x, LABELS).sum()) for f in
                   (cross_entropy, pickle.loads(pickle.dumps(cross_entropy))))  # fmt: skip
    close(again(X), ours(X))


def test_names_of_arguments():
    with pytest.raises(TypeError, match="entropy: unknown argument 'labels'; did you mean 'targets'"):
        cross_entropy(X, labels=LABELS)
    with pytest.raises(TypeError, match="argument 'smoothing'; did you mean 'label_smoothing'"):
        cross_entropy(X, LABELS, smoothing=0.1)
    with pytest.raises(TypeError, match="softmax: unknown argument 'qqq'; it takes x, mask, axis"):
        differentiable(softmax)(X, qqq=0)
    with pytest.raises(TypeError, match="softmax_cross_entropy: too many positional arguments"):
        cross_entropy(X, LABELS, None, 0.1)
    with pytest.raises(TypeError, match="softmax_cross_entropy: missing a required argument: 'targets'"):
        cross_entropy(X)
