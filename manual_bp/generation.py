r"""Text from a decoder, with the keys and values of the tokens so far in a cache.   Axes as in `models.gpt`;
S places of the cache, of which n are taken.

    k_n.., v_n.. = those of T new tokens, at positions n + t        (1)
    o_t  = attention(q_t, k, v) over the places s <= n + t          (2)
    id'  ~ softmax(z / temperature), of the `top_k` largest logits  (3)

Everything else is the forward pass of `models.gpt`, so that the logits are those of all tokens at once. A
token then costs a pass over the cache, not over the text again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks
from manual_bp.models import gpt
from manual_bp.ops import attention, dense, embedding, rope
from manual_bp.precision import wide
from manual_bp.sharding import merge_axes


class Cache(NamedTuple):
    """Keys and values of each layer, and how many places are taken."""

    k: Float[Array, "L B S K D"]
    v: Float[Array, "L B S K D"]
    taken: Integer[Array, ""]


def empty(
    params: gpt.Params, batch: int, capacity: int, *, heads: int, dtype: DTypeLike | None = None
) -> Cache:
    """A cache of `capacity` places for so many texts; `dtype` is that of the activations."""
    checks.counts("generation", capacity=capacity)
    if params.positions is not None:
        context = len(params.positions.table)
        expected = f"at most {context}, the positions of the params"
        checks.option("generation", "capacity", capacity, capacity <= context, expected)
    width = params.blocks.q.w.shape[-1] // heads
    layers, _, of_keys = params.blocks.k.w.shape
    k = jnp.zeros((layers, batch, capacity, of_keys // width, width), dtype or params.embedding.table.dtype)
    return Cache(k, jnp.zeros_like(k), jnp.int32(0))


def extend(
    params: gpt.Params,
    cache: Cache,
    ids: Integer[Array, "B T"],
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float = 10000.0,
    rope_scaling: rope.Scaling | None = None,
) -> tuple[Float[Array, "B T V"], Cache]:
    """The logits of the token after each of `ids`, which come after those of the cache, and the new cache.

    A prompt, or a token, or some. They are NaN where the cache has not so many places left.
    """
    options = gpt.Options(
        heads, activation, eps, rope_base, rope_scaling, 0.0, "inputs", gpt.is_rotary(params)
    )
    gpt.check(params, ids, None, options)
    (_, batch, places, *_), tokens = cache.k.shape, ids.shape[1]
    expected = f"{batch}, the cache's"
    checks.option("generation", "the number of texts", ids.shape[0], ids.shape[0] == batch, expected)
    times = cache.taken + jnp.arange(tokens, dtype=jnp.int32)
    x, _ = embedding.fwd(params.embedding, ids)
    if params.positions is not None:
        x = x + embedding.fwd(params.positions, jnp.broadcast_to(times[None], ids.shape))[0]
    x = x.astype(cache.k.dtype)
    allowed = jnp.arange(places, dtype=jnp.int32)[None] <= times[:, None]

    # the whole cache is carried, not a layer's part given and taken: so each token is written where it goes
    def layer(
        carry: tuple[gpt.X, Array, Array], given: tuple[gpt.Block, Array]
    ) -> tuple[tuple[gpt.X, Array, Array], None]:
        (x, keys, values), (block, at) = carry, given
        n, _ = gpt.norm_of(block.norm1).fwd(block.norm1, x, eps=eps)
        q, k, v = gpt.queries_keys_values(block, n, times, options)
        keys, values = (_put(old, new, at, cache.taken) for old, new in ((keys, k), (values, v)))  # (1)
        o, _ = attention.fwd(q, keys[at], values[at], mask=allowed)  # (2)
        x = x + dense.fwd(block.out, merge_axes(o, 2))[0]
        m, _ = gpt.norm_of(block.norm2).fwd(block.norm2, x, eps=eps)
        return (x + gpt.mlp_fwd(block.mlp, m, options)[0], keys, values), None

    numbered = params.blocks, jnp.arange(len(cache.k), dtype=cache.taken.dtype)
    (x, k, v), _ = jax.lax.scan(layer, (x, cache.k, cache.v), numbered)
    h, _ = gpt.norm_of(params.norm).fwd(params.norm, x, eps=eps)
    logits, _ = dense.fwd(gpt.head_of(params), h)
    taken = cache.taken + tokens
    return jnp.where(taken <= places, logits, jnp.nan), Cache(k, v, taken)


def sample(
    params: gpt.Params,
    key: Key[Array, ""],
    prompt: Integer[Array, "B T"],
    length: int,
    *,
    capacity: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    dtype: DTypeLike | None = None,
    heads: int,
    **static: Any,
) -> Integer[Array, "B N"]:
    """So many tokens after a prompt, drawn one after the other; `static` are options of `extend`.

    Where the cache is full it begins anew with the later half of what it has, as the tokens that it has lost
    were further back than the context goes. After a token that is none, all are -1.
    """
    checks.counts("generation", length=length)
    checks.number("generation", "temperature", temperature, lambda t: t > 0, "a positive number")
    vocabulary = params.embedding.table.shape[0]
    if top_k is not None:
        expected = f"1 to {vocabulary}, or None"
        checks.number("generation", "top_k", top_k, lambda k: 1 <= k <= vocabulary, expected)
    checks.integers("generation", prompt=prompt)
    if prompt.ndim != 2:
        raise ValueError(f"generation: prompt has shape {prompt.shape}; expected two axes (batch, time)")
    seen = prompt.shape[1]
    expected = f"a token or more, and fewer than the {capacity} of capacity"
    checks.option("generation", "the length of the prompt", seen, 1 <= seen < capacity, expected)
    options: dict[str, Any] = {"heads": heads, **static}

    def following(carry: tuple[Array, Cache], key: Array) -> tuple[tuple[Array, Cache], Array]:
        logits, cache = carry
        new = _drawn(key, logits, temperature, top_k).astype(prompt.dtype)
        logits, cache = extend(params, cache, new[:, None], **options)
        return (logits[:, 0], cache), new

    def piece(key: Array, begin: Array, count: int) -> Array:
        """So many tokens after a beginning, with a cache of their own."""
        cache = empty(params, len(begin), capacity, heads=heads, dtype=dtype)
        logits, cache = extend(params, cache, begin, **options)
        _, new = jax.lax.scan(following, (logits[:, -1], cache), jax.random.split(key, count))
        return jnp.swapaxes(new, 0, 1)

    first, *keys = jax.random.split(key, 2)
    found = piece(first, prompt, min(length, capacity - seen))
    half = max(1, capacity // 2)
    rest = length - found.shape[1]
    if rest <= 0:
        return found
    count = capacity - half

    def later(begin: Array, key: Array) -> tuple[Array, Array]:
        new = piece(key, begin, count)
        return jnp.concatenate([begin, new], 1)[:, -half:], new

    begin = jnp.concatenate([prompt, found], 1)[:, -half:]
    _, pieces = jax.lax.scan(later, begin, jax.random.split(keys[0], -(-rest // count)))
    more = jnp.reshape(jnp.swapaxes(pieces, 0, 1), (len(prompt), -1))
    return jnp.concatenate([found, more], 1)[:, :length]


def _put(
    old: Float[Array, "L B S K D"], new: Float[Array, "B T K D"], layer: Array, at: Array
) -> Float[Array, "L B S K D"]:
    """The new entries of a layer behind those that are there."""
    none = jnp.zeros_like(at)
    return jax.lax.dynamic_update_slice(old, new[None].astype(old.dtype), (layer, none, at, none, none))


def _drawn(
    key: Array, logits: Float[Array, "B V"], temperature: float, top_k: int | None
) -> Integer[Array, "B"]:
    """(3), and -1, which is no token, where the logits are no numbers."""
    z = wide(logits) / float(temperature)
    if top_k is not None:
        least = jax.lax.top_k(z, int(top_k))[0][:, -1:]
        z = jnp.where(z < least, -jnp.inf, z)
    return jnp.where(jnp.isnan(z).any(-1), -1, jax.random.categorical(key, z))
