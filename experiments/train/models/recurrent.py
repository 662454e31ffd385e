"""A recurrent language model: the next character of a text, from all that came before."""

import dataclasses
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import optax

import jax_ref
import manual_bp
from experiments.common.errors import UserError
from experiments.common.options import Between, Count, OneOf, Rate
from experiments.train import corpus, models, order
from experiments.train.corpus import Dataset, load
from experiments.train.recipe import Model, Recipe
from manual_bp.initializers import INITIALIZERS
from manual_bp.models import recurrent
from manual_bp.precision import accumulator, wide

__all__ = ["Settings", "load", "recipe"]

STREAMS, STRETCH = 64, 128
"""A part that is held out is read in so many places at once, each from an empty state on, so far a step."""

PRIMED, SAMPLED = 200, 300
"""Characters that a sample goes on from, and its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(corpus.Settings):
    """Train one model of text by hand-written gradients and by jax.grad, and compare the two."""

    group: ClassVar[str] = "model"

    model: Annotated[str, OneOf(models.names())] = "recurrent"
    """The network. Its own options are listed with --model NAME --help."""
    cell: Annotated[str, OneOf(recurrent.CELLS)] = "lstm"
    """What a layer does with its state and a character."""
    widths: tuple[Count, ...] = (64, 512)
    """Features of a character, then those of the state of each layer."""
    window: Count = 64
    """Characters per example: so far back goes a gradient. The state comes from the window before."""
    initializer: Annotated[str, OneOf(INITIALIZERS)] = "glorot"
    """How the weights begin; biases begin with zero, but with one for the forget gate."""
    learning_rate: Rate = 5e-3
    """Learning rate at the start."""
    weight_decay: Annotated[float, Between(0, 1e38)] = 0.0
    """Decoupled with adamw and lion (their own), an L2 term of the gradient with the others."""
    clip_norm: Rate | None = 1.0
    """Largest norm of a gradient, of all params together: a longer one is made as short as that."""
    batch_size: Count = 64
    """Examples per step: the training text is read in so many places at once."""
    round_steps: Count | None = 500
    """Steps after which the run is evaluated and kept."""
    epochs: Count = 6
    """Rounds of so many steps."""


def recipe(settings: Settings, dataset: Dataset) -> Recipe:
    """How the network of the settings is trained on a text.

    The training text is cut into `batch_size` streams of one length, each of them into windows; a batch has
    the next window of every stream, so that row b of the state is what stream b has made of it. Behind its
    last window a stream begins anew, with the state that it has then.
    """
    characters, widths, dtype = dataset.whole.characters, settings.widths, jnp.dtype(settings.dtype)
    streams, window, cell = settings.batch_size, settings.window, settings.cell
    if len(widths) < 2:
        raise UserError(
            f"--widths was {' '.join(map(str, widths))}; expected that of a character and of a layer."
        )
    length = len(dataset.train) // streams
    windows = (length - 1) // window
    if windows < 1:
        raise UserError(
            f"--batch-size was {streams} and --window {window}; the training text has only "
            f"{len(dataset.train)} characters, expected at least {streams * (window + 1)}."
        )

    def init(key: jax.Array) -> recurrent.Params:
        return recurrent.init(
            key,
            len(characters),
            widths,
            cell=cell,
            initializer=settings.initializer,
            dtype=accumulator(dtype),  # steps of training are lost in the few digits of bfloat16
        )

    def zero_state(batch: int) -> recurrent.State:
        return recurrent.zero_state(batch, widths, cell=cell, dtype=dtype)

    def batch(ids: jax.Array, rows: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        starts = rows % streams * length + rows // streams * window
        found = ids[starts[:, None] + jnp.arange(window + 1)[None]]
        return found[:, :-1], found[:, 1:]

    def metrics(model: Model, parts: Any) -> dict[str, jax.Array]:
        nats = {name: held_out_loss(model, ids, zero_state, cell) for name, ids in parts.items()}
        return corpus.in_nats_and_bits(nats)

    def sample(model: Model, key: jax.Array) -> jax.Array:
        """What goes on where the training text ends: of an empty state alone a model has seen too little."""
        prompt = jnp.asarray(dataset.train[-PRIMED:])[None]
        logits, state = model.at(zero_state(1)).apply(prompt, cell=cell)

        def following(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            logits, state = carry
            new = jax.random.categorical(key, logits.astype(accumulator(dtype))).astype(jnp.int32)
            logits, state = model.at(state).apply(new[None, None], cell=cell)
            return (logits[0, 0], state), new

        return jax.lax.scan(following, (logits[0, -1], state), jax.random.split(key, SAMPLED))[1]

    return Recipe(
        pair=manual_bp.models.recurrent,
        reference=jax_ref.models.recurrent,
        title=f"{cell} {list(widths)}",
        init=init,
        state=lambda params: zero_state(streams),
        static={"cell": cell},
        arrays=lambda part: jax.tree.map(jnp.asarray, part),
        count=lambda ids: windows * streams,
        batch=batch,
        order=order.successive,
        metrics=metrics,
        sample=sample,
        probe=streams,
        **corpus.told(dataset),
    )


def held_out_loss(model: Model, ids: jax.Array, zero_state: Any, cell: str) -> jax.Array:
    """The mean cross-entropy of all characters of a text but its first, read in `STREAMS` places at once."""
    stretches = -(-(len(ids) - 1) // (STREAMS * STRETCH))
    room = STREAMS * stretches * STRETCH - (len(ids) - 1)

    def arranged(part: jax.Array, filling: int) -> jax.Array:
        whole = jnp.concatenate([part, jnp.full(room, filling, part.dtype)])
        return jnp.swapaxes(whole.reshape(STREAMS, stretches, STRETCH), 0, 1)

    def step(state: Any, given: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        here, following = given
        logits, state = model.at(state).apply(here, cell=cell)
        losses = optax.softmax_cross_entropy_with_integer_labels(wide(logits), jnp.maximum(following, 0))
        return state, jnp.sum(jnp.where(following < 0, 0, losses))

    given = arranged(ids[:-1], 0), arranged(ids[1:], -1)  # -1 is behind the end
    return jnp.sum(jax.lax.scan(step, zero_state(STREAMS), given)[1]) / (len(ids) - 1)
