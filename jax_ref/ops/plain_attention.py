"""Attention of queries to keys, by head: the function that `attention` is."""

from jaxtyping import Array, Bool, Float, Integer

from jax_ref.ops import attention


def apply(
    q: Float[Array, "B T H D"],
    k: Float[Array, "B S K D"],
    v: Float[Array, "B S K D"],
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    segments: tuple[Integer[Array, "B T"], Integer[Array, "B S"]] | None = None,
    *,
    causal: bool = False,
    window: int | None = None,
    query_offset: int = 0,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Float[Array, "B T H D"]:
    """The mean of the values, weighted by the softmax of the scores; 0 where nothing is allowed."""
    return attention.apply(
        q,
        k,
        v,
        bias,
        mask,
        segments,
        causal=causal,
        window=window,
        query_offset=query_offset,
        scale=scale,
        soft_cap=soft_cap,
    )
