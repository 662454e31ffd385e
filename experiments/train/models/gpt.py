"""A decoder-only transformer: the next character of a text, from those of its context."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import optax

import jax_ref
import manual_bp
from experiments.common import decoder
from experiments.common.errors import UserError
from experiments.common.options import Between, Count, OneOf, Rate
from experiments.data import text
from experiments.train import corpus, decoder_splits, models
from experiments.train.recipe import Model, Recipe, Work
from experiments.train.splits import COMMON
from manual_bp import generation
from manual_bp.models import gpt
from manual_bp.parallel import gpt as over_a_mesh
from manual_bp.precision import accumulator, wide

FORMS: dict[str, dict[str, Any]] = {
    "gpt2": {"bias": False},
    "llama": {"norm": "rms_norm", "gated": True, "bias": False, "tied": False},
}
"""Options of `gpt.init` by form; the first has learned positions, the second rotary ones. Neither has biases:
nanoGPT trains GPT-2 without, and the gradient of the keys' bias is rounding, which Adam would follow."""

TOKENS = {"characters": lambda whole: whole, "bytes": text.in_bytes}
"""What a token is, of a text."""

PRESETS: dict[str, dict[str, Any]] = {
    "nanogpt-cpu": {
        "layers": 4,
        "heads": 4,
        "width": 128,
        "window": 64,
        "batch_size": 12,
        "round_steps": 500,
        "epochs": 4,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
    }
}
"""Settings by the name of what they are those of."""

EVALUATED = 2**16
"""Characters, at most, of each part that is held out."""

AT_ONCE = 2**12
"""Of these, how many are read at once."""

SAMPLED = 300
"""Characters of a sample."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(corpus.Settings):
    """Train one decoder of text by hand-written gradients and by jax.grad, and compare the two."""

    group: ClassVar[str] = "model"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    model: Annotated[str, OneOf(models.names())] = "gpt"
    """The network. Its own options are listed with --model NAME --help."""
    preset: Annotated[str, OneOf(tuple(PRESETS))] | None = None
    """Settings of a known run, where you give none of your own: nanogpt-cpu is nanoGPT's for a CPU, with 4
    layers and 2,000 steps."""
    form: Annotated[str, OneOf(FORMS)] = "gpt2"
    """Learned positions, layer norms and a tied head, or rotary positions, RMS norms and gates."""
    tokens: Annotated[str, OneOf(TOKENS)] = "characters"
    """What is learned: the characters of the text, or the bytes of its UTF-8."""
    layers: Count = 2
    """Blocks of attention and mlp."""
    width: Count = 64
    """Features of a token."""
    heads: Count = 4
    """Heads of attention."""
    key_heads: Count | None = None
    """Heads of keys and values, of which each serves several; by default as many."""
    hidden: Count | None = None
    """Features between the two products of the mlp; by default four times the width."""
    window: Annotated[int, Between(2, 2**31 - 1)] = 64
    """Tokens of an example, which is as far as attention goes back."""
    dropout: Annotated[float, Between(0, 1)] = 0.0
    """The fraction of features that are zero at random in training."""
    keep: Annotated[str, OneOf(gpt.KEEP)] = "matmuls"
    """What the hand-written forward pass keeps of a block for the backward pass."""
    learning_rate: Rate = 2e-3
    """Learning rate at the start, or behind the warm-up."""
    warmup_steps: Annotated[int, Between(0, 2**31 - 1)] = 50
    """Steps through which the learning rate rises from zero, before the schedule begins."""
    clip_norm: Rate | None = 1.0
    """Largest norm of a gradient, of all params together: a longer one is made as short as that."""
    batch_size: Count = 16
    """Examples per step, drawn anywhere in the training text."""
    round_steps: Count | None = 250
    """Steps after which the run is evaluated and kept."""
    epochs: Count = 4
    """Rounds of so many steps."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The decoder over a mesh has no dropout, and keeps the inputs of all ops nowhere."""
        return ("data",) if self.in_the_way else ("data", "fsdp", "tensor")

    @property
    def in_the_way(self) -> tuple[str, ...]:
        """What it has not."""
        had = {"dropout": (0,), "keep": over_a_mesh.KEEP}
        return tuple(name for name, values in had.items() if getattr(self, name) not in values)


def load(settings: Settings) -> corpus.Dataset:
    """The text of the settings in its parts, as the tokens they ask for."""
    whole = TOKENS[settings.tokens](corpus.load(settings).whole)
    return corpus.of(whole, EVALUATED)


def recipe(settings: Settings, dataset: corpus.Dataset) -> Recipe:
    """How the network of the settings is trained on windows of a text."""
    window, heads, width = settings.window, settings.heads, settings.width
    key_heads = settings.key_heads or heads
    if width % heads:
        raise UserError(f"--heads was {heads}; expected a number that divides the {width} of --width.")
    if heads % key_heads:
        raise UserError(
            f"--key-heads was {key_heads}; expected a number that divides the {heads} of --heads."
        )
    if settings.form == "llama" and width // heads % 2:
        raise UserError(f"--heads was {heads}; expected an even share of the {width} of --width for each.")
    if len(dataset.train) <= window:
        raise UserError(
            f"--window was {window}; the training text has only {len(dataset.train)} tokens, expected more."
        )
    dtype = jnp.dtype(settings.dtype).name
    shape: dict[str, Any] = {
        "layers": settings.layers,
        "width": width,
        "heads": heads,
        **FORMS[settings.form],
    }
    shape |= {"key_heads": key_heads, "hidden": settings.hidden}
    shape |= {"context": window} if settings.form == "gpt2" else {}
    evaluated = {"heads": heads, "dtype": dtype}

    def init(key: jax.Array) -> gpt.Params:
        wide = accumulator(dtype)  # steps of training are lost in the few digits of bfloat16
        return gpt.init(key, len(dataset.whole.characters), dtype=wide, **shape)

    def batch(ids: jax.Array, rows: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        found = ids[rows[:, None] + jnp.arange(window + 1)[None]]
        return (found[:, :-1], found[:, 1:], *([key] if settings.dropout else []))

    def metrics(model: Model, parts: Any) -> dict[str, jax.Array]:
        nats = {name: held_out_loss(model, ids, window, evaluated) for name, ids in parts.items()}
        return corpus.in_nats_and_bits(nats)

    def sample(model: Model, key: jax.Array) -> jax.Array:
        """What goes on where the training text ends, of half a window of it."""
        prompt = jnp.asarray(dataset.train[-(window // 2) :])[None]
        drawn = generation.sample(
            model.params, key, prompt, SAMPLED, capacity=window, dtype=dtype, heads=heads
        )
        return drawn[0]

    params = jax.eval_shape(init, jax.random.key(0))
    flops = decoder.matmul_flops(params, settings.batch_size, window)
    return Recipe(
        pair=manual_bp.models.gpt,
        reference=jax_ref.models.gpt,
        title=f"{settings.form} of {settings.layers} layers, {heads} heads, width {width}",
        init=init,
        static={**evaluated, "dropout": settings.dropout, "keep": settings.keep},
        arrays=lambda part: jax.tree.map(jnp.asarray, part),
        count=lambda ids: len(ids) - window,
        batch=batch,
        metrics=metrics,
        sample=sample,
        stacked=frozenset({"blocks"}),
        decayed=decayed,
        splits={**COMMON, "fsdp": decoder_splits.layers, "tensor": decoder_splits.tensor},
        work=Work("tokens", settings.batch_size * window, flops),
        probe=settings.batch_size,
        **corpus.told(dataset),
    )


def decayed(params: Any) -> Any:
    """Weights and tables, and no gains and biases: these hold nothing that would grow with time."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].name in ("w", "table"), params)


def held_out_loss(model: Model, ids: jax.Array, window: int, static: Mapping[str, Any]) -> jax.Array:
    """The mean cross-entropy of a text in windows one after the other, each read from an empty context on."""
    window = min(window, len(ids) - 1)
    windows = (len(ids) - 1) // window
    at_once = max(1, AT_ONCE // window)
    groups = -(-windows // at_once)

    def arranged(part: jax.Array, filling: int) -> jax.Array:
        whole = jnp.full((groups * at_once, window), filling, part.dtype)
        return whole.at[:windows].set(part.reshape(windows, window)).reshape(groups, at_once, window)

    def step(total: jax.Array, given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        here, following = given
        logits = wide(model.apply(here, **static))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(following, 0))
        return total + jnp.sum(jnp.where(following < 0, 0, losses)), None

    end = windows * window
    given = arranged(ids[:end], 0), arranged(ids[1 : end + 1], -1)  # -1 is behind the end
    total, _ = jax.lax.scan(step, jnp.zeros((), accumulator(static["dtype"])), given)
    return total / end
