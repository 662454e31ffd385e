"""The decoder in its forms and policies, in narrow dtypes, deep, and what it keeps of a forward pass."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from manual_bp.models import gpt
from manual_bp.ops import gated_mlp
from tests.cases import MODELS
from tests.close import close

EXAMPLES = {example.kind: example for example in MODELS["gpt"].examples if example.lead == (7,)}
RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, 5, (7, 3))


def both(args: Any, **static: Any) -> tuple[Any, Any]:
    """The loss and the gradient by hand, and by autodiff of the reference."""
    params, ids, *key = jax.tree.map(jnp.asarray, args)
    batch = (ids, TARGETS, *key)
    by_hand = jax.jit(partial(gpt.value_and_grad, **static))(params, batch)
    loss = partial(jax_ref.models.gpt.loss, **static)
    return by_hand, jax.jit(jax.value_and_grad(loss))(params, batch)


def agree(found: Any, expected: Any, tolerance: float) -> None:
    """Leaf by leaf; b_k of GPT-2's form moves all scores of a query alike, so that its gradient is zero."""
    (cost, grads), (cost_, grads_) = found, expected
    assert abs(cost - cost_) <= tolerance * abs(cost_)
    b_k = grads.blocks.k.b
    if b_k is not None and grads.positions is not None:
        assert jnp.linalg.norm(b_k) <= tolerance * jnp.linalg.norm(grads.blocks.q.b)
        grads, grads_ = (
            g._replace(blocks=g.blocks._replace(k=g.blocks.k._replace(b=None))) for g in (grads, grads_)
        )
    close(grads, grads_, tolerance)


FORMS = ["gpt2", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("llama", "dropout"))]


@pytest.mark.parametrize("keep", ["all", "inputs", pytest.param("matmuls", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", FORMS)
def test_what_is_kept_changes_nothing_but_what_is_made_again(kind, keep):
    example = EXAMPLES[kind]
    agree(*both(example.args, **example.static | {"keep": keep, "chunk": 4, "ignore_label": 2}), 1e-12)


@pytest.mark.parametrize("kind", ["llama"])
def test_the_products_of_gated_layers_are_enough(kind):
    example = EXAMPLES[kind]
    agree(*both(example.args, **example.static | {"keep": "matmuls"}), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("form", ["gpt2", "llama"])
def test_twelve_layers(form, tied):
    """At widths and lengths that divide by nothing, with several tiles of attention and chunks of tokens."""
    options: dict[str, Any] = {"layers": 12, "width": 30, "heads": 5, "tied": tied}
    options |= {"context": 131} if form == "gpt2" else {"norm": "rms_norm", "gated": True, "bias": False}
    options |= {"hidden": 37, "key_heads": 1}
    params = gpt.init(jax.random.key(0), 97, dtype=jnp.float64, **options)
    params = jax.tree.map(lambda p: p + 0.1 * RNG.normal(size=p.shape), params)
    batch = tuple(jnp.asarray(RNG.integers(0, 97, (2, 3, 131))))
    static = {"heads": 5, "chunk": 64}
    by_hand = jax.jit(partial(gpt.value_and_grad, **static))(params, batch)
    agree(
        by_hand, jax.jit(jax.value_and_grad(partial(jax_ref.models.gpt.loss, **static)))(params, batch), 1e-10
    )


@pytest.mark.parametrize(
    ("dtype", "of_params"),
    [
        pytest.param(jnp.bfloat16, jnp.bfloat16, marks=pytest.mark.slow),
        (jnp.bfloat16, jnp.float32),
        pytest.param(jnp.float16, jnp.float32, marks=pytest.mark.slow),
        pytest.param(jnp.float32, jnp.float32, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", ["gpt2", pytest.param("llama", marks=pytest.mark.slow)])
def test_in_narrow_dtypes_it_is_as_near_as_autodiff(kind, dtype, of_params):
    """In the geometric mean over draws: of one draw the nearer side is one by chance."""
    example = EXAMPLES[kind]
    static = {**example.static, "dtype": jnp.dtype(dtype).name}
    by_hand = jax.jit(partial(gpt.value_and_grad, **static))
    loss = partial(jax_ref.models.gpt.loss, **static)
    by_autodiff = jax.jit(jax.value_and_grad(loss))
    exact = jax.jit(jax.value_and_grad(partial(loss, dtype="float64")))
    errors: list[Any] = []
    for seed in range(30):
        params, ids = jax.tree.map(jnp.asarray, example.draw(seed))
        params = jax.tree.map(lambda p: p.astype(of_params), params)
        value, grads = by_hand(params, (ids, TARGETS))
        assert value.dtype == jnp.float32
        assert all(g.dtype == of_params for g in jax.tree.leaves(grads))
        others = by_autodiff(params, (ids, TARGETS))
        wide = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        right = jax.tree.leaves(exact(wide, (ids, TARGETS)))
        errors.append(
            [[off(x, z) for x, z in zip(jax.tree.leaves(side), right, strict=True)] for side in
             ((value, grads), others)]
        )  # fmt: skip
    ours, theirs = np.exp(np.mean(np.log(np.array(errors) + 1e-300), 0))
    leaves = jax.tree_util.tree_leaves_with_path(example.args[0])
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    ratios = dict(zip(["loss", *names], ours / theirs, strict=True))
    assert {name: ratio for name, ratio in ratios.items() if ratio > 2} == {}


def off(x: jax.Array, right: jax.Array) -> float:
    """The distance, by the norm of what is right."""
    return float(np.linalg.norm(x.astype(jnp.float64) - right) / np.linalg.norm(right))


def test_bytes_of_what_is_kept_are_known_without_a_run():
    params, ids = jax.tree.map(jnp.asarray, EXAMPLES["gpt2"].args)
    shapes = jax.eval_shape(lambda: (params, ids))
    told = gpt.residual_bytes(*shapes, heads=2)
    for keep in gpt.KEEP:
        _, res = jax.eval_shape(partial(gpt.fwd, heads=2, keep=keep), params, ids)
        assert told[keep] == sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(res.blocks))
    tokens, width, hidden = 2 * ids.size, 4, 3  # of two layers, in float64
    assert told["inputs"] == 8 * tokens * width
    assert told["matmuls"] == 8 * tokens * (6 * width + hidden + 2 * 2)  # m and l of two heads
    assert told["all"] == told["matmuls"] + 8 * tokens * (2 * width + hidden + 2 * 3)  # n, m, a; two norms'
    narrow = gpt.residual_bytes(*shapes, heads=2, dtype="bfloat16")
    assert narrow["inputs"] == told["inputs"] // 4


def test_params_begin_as_those_of_gpt2():
    make = partial(gpt.init, jax.random.key(0), 300, layers=8, width=64, heads=4)
    params = make(context=50)
    assert params.positions is not None
    for leaf, std in (
        (params.embedding.table, 0.02),
        (params.positions.table, 0.02),
        (params.blocks.q.w, 0.02),
        (params.blocks.out.w, 0.005),
        (params.blocks.mlp.down.w, 0.005),
    ):
        assert np.std(leaf) == pytest.approx(std, rel=0.1)
    assert params.head is None
    assert params.blocks.mlp.up.w.shape == (8, 64, 256)
    llama = make(norm="rms_norm", gated=True, bias=False, tied=False, key_heads=2, hidden=100)
    assert llama.positions is None
    assert llama.head is not None
    assert llama.blocks.k.w.shape == (8, 64, 32)
    assert isinstance(llama.blocks.mlp, gated_mlp.Params)
    assert llama.blocks.mlp.gate.w.shape == (8, 64, 100)
    assert all(p.b is None for p in (llama.blocks.q, llama.blocks.out, llama.blocks.mlp.down, llama.head))


def test_ids_outside_of_the_vocabulary_are_seen():
    params, ids = jax.tree.map(jnp.asarray, EXAMPLES["gpt2"].args)
    logits, _ = gpt.fwd(params, ids.at[0, 1].set(5), heads=2)
    assert np.all(np.isnan(logits[0, 1:]))
    assert np.all(np.isfinite(logits[1:]))
