"""Order in which a round takes the rows of the training data: (steps, B), traced."""

import jax
import jax.numpy as jnp


def shuffled(key: jax.Array, number: jax.Array, count: int, batch_size: int, steps: int | None) -> jax.Array:
    """Each round another order: every batch once, or with `steps` so many of rows drawn with replacement."""
    key = jax.random.fold_in(key, number)
    if steps is not None:
        return jax.random.randint(key, (steps, batch_size), 0, count)
    whole = count // batch_size
    return jax.random.permutation(key, count)[: whole * batch_size].reshape(whole, batch_size)


def successive(
    key: jax.Array, number: jax.Array, count: int, batch_size: int, steps: int | None
) -> jax.Array:
    """One batch after the other, round after round, and behind the last the first again.

    For a model whose state goes from each batch to the next.
    """
    batches = count // batch_size
    steps = batches if steps is None else steps
    taken = (number - 1).astype(jnp.int32) * steps  # rounds count from 1; `optimizers` bounds their steps
    batch = (taken + jnp.arange(steps, dtype=jnp.int32)) % batches
    return batch[:, None] * batch_size + jnp.arange(batch_size, dtype=jnp.int32)[None]
