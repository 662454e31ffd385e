"""Three lines of a transformer in Flax, and in Equinox, replaced by hand-written ops: the gradients stay."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from manual_bp import differentiable
from manual_bp.ops import attention, dense, linear_cross_entropy
from tests.close import close

VOCABULARY, WIDTH, HEADS, LAYERS = 11, 6, 3, 1
IDS = jnp.asarray(np.random.default_rng(0).integers(0, VOCABULARY, (2, 5)))
TARGETS = jnp.roll(IDS, -1, 1)

hand_written_attention = differentiable(attention)
hand_written_losses = differentiable(linear_cross_entropy)


@pytest.fixture(autouse=True)
def lenient():
    """As the two libraries need it."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


class FlaxBlock(nn.Module):
    """A layer, which is told how to attend."""

    attend: Callable[..., Any]

    @nn.compact
    def __call__(self, x):
        n = nn.LayerNorm(param_dtype=x.dtype)(x)
        by_head = partial(nn.DenseGeneral, (HEADS, WIDTH // HEADS), use_bias=False, param_dtype=x.dtype)
        q, k, v = by_head(name="q")(n), by_head(name="k")(n), by_head(name="v")(n)
        o = self.attend(q, k, v)
        x = x + nn.DenseGeneral(WIDTH, axis=(-2, -1), param_dtype=x.dtype)(o)
        m = nn.LayerNorm(param_dtype=x.dtype)(x)
        return x + nn.Dense(WIDTH, param_dtype=x.dtype)(nn.gelu(nn.Dense(9, param_dtype=x.dtype)(m)))


class FlaxDecoder(nn.Module):
    """The losses of all tokens."""

    attend: Callable[..., Any]
    losses: Callable[..., Any]

    @nn.compact
    def __call__(self, ids, targets):
        x = nn.Embed(VOCABULARY, WIDTH, param_dtype=jnp.float64)(ids)
        for _ in range(LAYERS):
            x = FlaxBlock(self.attend)(x)
        head = self.param("head", nn.initializers.lecun_normal(), (WIDTH, VOCABULARY), jnp.float64)
        return self.losses(x, head, targets)


def of_flax(attend, losses):
    """The mean loss as a function of the params."""
    model = FlaxDecoder(attend, losses)
    return lambda params: jnp.mean(model.apply(params, IDS, TARGETS))  # pyright: ignore[reportArgumentType]


def flax_attention(q, k, v):
    return nn.dot_product_attention(q, k, v, mask=nn.make_causal_mask(IDS))


def optax_losses(h, head, targets):
    logits = h @ head
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets)


def our_attention(q, k, v):
    return hand_written_attention(q, k, v, causal=True)


def our_losses(h, head, targets):
    return hand_written_losses(dense.Params(head, None), h, targets)


class EquinoxBlock(eqx.Module):
    """A layer of one text, as Equinox has it: `jax.vmap` makes a batch of it."""

    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    qkv: eqx.nn.Linear
    out: eqx.nn.Linear
    mlp: eqx.nn.MLP
    attend: Callable[..., Any] = eqx.field(static=True)

    def __init__(self, key, attend):
        keys = jax.random.split(key, 3)
        self.norms = (eqx.nn.LayerNorm(WIDTH), eqx.nn.LayerNorm(WIDTH))
        self.qkv = eqx.nn.Linear(WIDTH, 3 * WIDTH, key=keys[0])
        self.out = eqx.nn.Linear(WIDTH, WIDTH, key=keys[1])
        self.mlp = eqx.nn.MLP(WIDTH, WIDTH, 9, 1, jax.nn.gelu, key=keys[2])
        self.attend = attend

    def __call__(self, x):
        joined = jax.vmap(self.qkv)(jax.vmap(self.norms[0])(x))
        q, k, v = (jnp.reshape(y, (len(x), HEADS, -1)) for y in jnp.split(joined, 3, -1))
        x = x + jax.vmap(self.out)(jnp.reshape(self.attend(q, k, v), x.shape))
        return x + jax.vmap(self.mlp)(jax.vmap(self.norms[1])(x))


class EquinoxDecoder(eqx.Module):
    """The losses of one text."""

    embedding: eqx.nn.Embedding
    blocks: list[EquinoxBlock]
    head: jax.Array
    losses: Callable[..., Any] = eqx.field(static=True)

    def __init__(self, key, attend, losses):
        first, last, *keys = jax.random.split(key, 2 + LAYERS)
        self.embedding = eqx.nn.Embedding(VOCABULARY, WIDTH, key=first)
        self.blocks = [EquinoxBlock(k, attend) for k in keys]
        self.head = jax.random.normal(last, (WIDTH, VOCABULARY))
        self.losses = losses

    def __call__(self, ids, targets):
        x = jax.vmap(self.embedding)(ids)
        for block in self.blocks:
            x = block(x)
        return self.losses(x, self.head, targets)


def of_equinox(attend, losses):
    """A model with its mean loss."""

    def loss(model):
        return jnp.mean(jax.vmap(model)(IDS, TARGETS))

    return EquinoxDecoder(jax.random.key(0), attend, losses), loss


def equinox_attention(q, k, v):
    times = jnp.arange(len(q))
    scores = jnp.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    p = jax.nn.softmax(jnp.where(times[:, None] >= times, scores, -jnp.inf))
    return jnp.einsum("hts,shd->thd", p, v)


def one_text(q, k, v):
    return hand_written_attention(q[None], k[None], v[None], causal=True)[0]


def test_three_lines_of_flax():
    before = of_flax(flax_attention, optax_losses)
    after = of_flax(our_attention, our_losses)
    params = FlaxDecoder(flax_attention, optax_losses).init(jax.random.key(0), IDS, TARGETS)
    both = jax.jit(lambda params: [jax.value_and_grad(loss)(params) for loss in (after, before)])
    ours, theirs = both(params)
    close(ours, theirs, 1e-12)


def test_three_lines_of_equinox():
    @eqx.filter_jit
    def both(models):
        return [eqx.filter_value_and_grad(loss)(model) for model, loss in models]

    (ours, found), (theirs, expected) = both(
        [of_equinox(one_text, our_losses), of_equinox(equinox_attention, optax_losses)]
    )
    assert len(jax.tree.leaves(found)) == 2 + LAYERS * 12
    close((ours, jax.tree.leaves(found)), (theirs, jax.tree.leaves(expected)), 1e-12)
