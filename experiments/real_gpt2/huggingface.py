"""Decoders of Hugging Face's transformers as params of `gpt`: names of tensors, shapes, and the config.

A shape is written in letters: V the vocabulary, P the positions, C the width, F the features of the mlp, Q
and K those of all queries and of all keys of a token, J the three that GPT-2 has in one. Maps are (in, out)
in GPT-2, and in Llama (out, in). A star in a name is the number of a layer.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.errors import UserError, choose
from experiments.real_gpt2.config import Config
from manual_bp.models import gpt
from manual_bp.ops import dense, embedding, gated_mlp, layer_norm, rms_norm, rope

Shapes = Mapping[str, tuple[int, ...]]

HEAD = "lm_head.weight"

BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Ends of the names of what is no param: masks and angles, which older files have too and which go unread."""

SHOWN = 4
"""Names of a list that a sentence has."""

GPT2 = {
    "wte.weight": "V C",
    "wpe.weight": "P C",
    "h.*.ln_1.weight": "C",
    "h.*.ln_1.bias": "C",
    "h.*.attn.c_attn.weight": "C J",
    "h.*.attn.c_attn.bias": "J",
    "h.*.attn.c_proj.weight": "C C",
    "h.*.attn.c_proj.bias": "C",
    "h.*.ln_2.weight": "C",
    "h.*.ln_2.bias": "C",
    "h.*.mlp.c_fc.weight": "C F",
    "h.*.mlp.c_fc.bias": "F",
    "h.*.mlp.c_proj.weight": "F C",
    "h.*.mlp.c_proj.bias": "C",
    "ln_f.weight": "C",
    "ln_f.bias": "C",
}

LLAMA = {
    "embed_tokens.weight": "V C",
    "layers.*.input_layernorm.weight": "C",
    "layers.*.self_attn.q_proj.weight": "Q C",
    "layers.*.self_attn.k_proj.weight": "K C",
    "layers.*.self_attn.v_proj.weight": "K C",
    "layers.*.self_attn.o_proj.weight": "C Q",
    "layers.*.post_attention_layernorm.weight": "C",
    "layers.*.mlp.gate_proj.weight": "F C",
    "layers.*.mlp.up_proj.weight": "F C",
    "layers.*.mlp.down_proj.weight": "C F",
    "norm.weight": "C",
}


class Form(NamedTuple):
    """What a config says of a model: its tensors by shape, and the options and limits of `gpt`.

    `prefix` is that of all names but the head's; older files lack it. `arranged` takes the tensors by name,
    those of the layers stacked under the name with the star, and makes params of NumPy's arrays.
    """

    prefix: str
    tensors: dict[str, str]
    sizes: dict[str, int]
    layers: int
    is_tied: bool
    arranged: Callable[[Mapping[str, np.ndarray]], gpt.Params]
    static: dict[str, Any]
    context: int


class Decoder(NamedTuple):
    """Params of `gpt` and the options that go with them.

    At most `context` tokens can be given; a text begins with the token `start`, and ends with one of `ends`.
    """

    params: gpt.Params
    static: dict[str, Any]
    context: int
    start: int
    ends: tuple[int, ...]


def decoder(config: Config, shapes: Shapes, read: Callable[[str], np.ndarray]) -> Decoder:
    """The decoder of these tensors, of which none is `read` before the shapes of all are right."""
    form = form_of(config)
    stored = {name.removeprefix(form.prefix): name for name in shapes}
    check(config, form, {name: shapes[whole] for name, whole in stored.items()})

    def tensor(name: str) -> np.ndarray:
        if "*" not in name:
            return read(stored[name])
        return np.stack([read(stored[_of_layer(name, layer)]) for layer in range(form.layers)])

    arrays = {name: tensor(name) for name in form.tensors}
    if form.is_tied and HEAD in stored and not np.array_equal(read(stored[HEAD]), arrays[next(iter(arrays))]):
        raise UserError(f"{HEAD} in {config.path.parent} is not the table, and the config says that it is.")
    vocabulary = form.sizes["V"]
    start = config.tokens("bos_token_id", vocabulary) or (0,)
    ends = config.tokens("eos_token_id", vocabulary)
    params = jax.tree.map(jnp.asarray, form.arranged(arrays))
    return Decoder(params, form.static, form.context, start[0], ends)


def form_of(config: Config) -> Form:
    """The form of a model."""
    kind = config.values.get("model_type")
    if not isinstance(kind, str):
        raise config.wrong("model_type", " or ".join(FORMS))
    return FORMS[choose(f"model_type in {config.path}", kind, FORMS)](config)


def check(config: Config, form: Form, found: Shapes) -> None:
    """Raise unless there are tensors of the form's names and shapes, and no others."""
    folder = config.path.parent
    if form.layers > len(found):
        raise UserError(
            f"{folder} has {len(found)} tensors, too few for the {form.layers} layers of its config."
        )
    wanted = {
        name: tuple(form.sizes[letter] for letter in letters.split())
        for pattern, letters in form.tensors.items()
        for name in _of_layers(pattern, form.layers)
    }
    if form.is_tied and HEAD in found:
        wanted[HEAD] = form.sizes["V"], form.sizes["C"]
    if missing := wanted.keys() - found.keys():
        raise UserError(f"{folder} lacks {_listed(missing)}, which its config asks for.")
    if unknown := found.keys() - wanted.keys():
        raise UserError(f"{folder} has {_listed(unknown)}, of which its config knows nothing.")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise UserError(f"{name} in {folder} has shape {found[name]}; expected {shape}.")


def _listed(names: Iterable[str]) -> str:
    first = sorted(name[:60] for name in names)
    more = f" and {len(first) - SHOWN} more tensors" if len(first) > SHOWN else ""
    return f"{'the tensor ' if len(first) == 1 else ''}{', '.join(first[:SHOWN])}{more}"


def _of_layer(pattern: str, layer: int) -> str:
    return pattern.replace("*", str(layer))


def _of_layers(pattern: str, layers: int) -> list[str]:
    return [_of_layer(pattern, layer) for layer in range(layers)] if "*" in pattern else [pattern]


def gpt2(config: Config) -> Form:
    """That of GPT-2."""
    config.require("scale_attn_weights", True)
    config.require("scale_attn_by_inverse_layer_idx", False)
    config.require("add_cross_attention", False)
    width, heads = config.count("n_embd", 768), config.count("n_head", 12)
    if width % heads:
        raise config.wrong("n_head", f"a number that divides the {width} of n_embd")
    context = config.count("n_positions", 1024)
    sizes = {"V": config.count("vocab_size", 50257), "P": context, "C": width, "J": 3 * width}
    sizes["F"] = config.count("n_inner", 4 * width)
    is_tied = config.truth("tie_word_embeddings", True)
    static = {
        "heads": heads,
        "activation": config.activation("activation_function", "gelu_new"),
        "eps": config.number("layer_norm_epsilon", 1e-5),
    }
    tensors = GPT2 if is_tied else {**GPT2, HEAD: "V C"}
    layers = config.count("n_layer", 12)
    return Form("transformer.", tensors, sizes, layers, is_tied, of_gpt2, static, context)


def of_gpt2(a: Any) -> gpt.Params:
    """Its tensors as params."""

    def norm(name: str) -> layer_norm.Params:
        return layer_norm.Params(a[f"{name}.weight"], a[f"{name}.bias"])

    def affine(name: str) -> dense.Params:
        return dense.Params(a[f"{name}.weight"], a[f"{name}.bias"])

    joined = [np.split(a[f"h.*.attn.c_attn.{part}"], 3, -1) for part in ("weight", "bias")]
    q, k, v = (dense.Params(w, b) for w, b in zip(*joined, strict=True))
    mlp = gpt.MLP(affine("h.*.mlp.c_fc"), affine("h.*.mlp.c_proj"))
    return gpt.Params(
        embedding.Params(a["wte.weight"]),
        embedding.Params(a["wpe.weight"]),
        gpt.Block(norm("h.*.ln_1"), q, k, v, affine("h.*.attn.c_proj"), norm("h.*.ln_2"), mlp),
        norm("ln_f"),
        _head(a),
    )


def llama(config: Config) -> Form:
    """That of Llama."""
    width, heads = config.count("hidden_size", 4096), config.count("num_attention_heads", 32)
    key_heads = config.count("num_key_value_heads", heads)
    if config.values.get("head_dim") is None and width % heads:
        raise config.wrong("num_attention_heads", f"a number that divides the {width} of hidden_size")
    features = config.count("head_dim", width // heads)
    if heads % key_heads:
        raise config.wrong("num_key_value_heads", f"a number that divides the {heads} heads")
    if features % 2:
        raise config.wrong("head_dim", f"an even number of features for each head, which {features} is not")
    sizes = {"V": config.count("vocab_size", 32000), "C": width, "Q": heads * features}
    sizes |= {"K": key_heads * features, "F": config.count("intermediate_size", 11008)}
    is_tied = config.truth("tie_word_embeddings", False)
    static = {
        "heads": heads,
        "activation": config.activation("hidden_act", "silu"),
        "eps": config.number("rms_norm_eps", 1e-6),
        **_rope(config),
    }
    tensors = dict(LLAMA)
    for part, option in (("self_attn", "attention_bias"), ("mlp", "mlp_bias")):
        if config.truth(option, False):
            of_part = {name: letters for name, letters in LLAMA.items() if f".{part}." in name}
            tensors |= {
                name.replace("weight", "bias"): letters.split()[0] for name, letters in of_part.items()
            }
    if not is_tied:
        tensors[HEAD] = "V C"
    layers, context = config.count("num_hidden_layers", 32), config.count("max_position_embeddings", 2048)
    return Form("model.", tensors, sizes, layers, is_tied, of_llama, static, context)


def _rope(config: Config) -> dict[str, Any]:
    """The options of the rotary positions, which newer configs have in one place and older ones in two."""
    base, scaling = config.number("rope_theta", 10000.0), None
    for name in ("rope_parameters", "rope_scaling"):
        options = config.values.get(name)
        if options is None:
            continue
        kinds = ", ".join(SCALINGS)
        if not isinstance(options, dict):
            raise config.wrong(name, f"an object with a rope_type of {kinds}")
        within = Config(config.path, options)
        kind = options.get("rope_type", options.get("type", "default"))
        if kind not in SCALINGS:
            raise config.wrong(name, f"a rope_type of {kinds}")
        base = within.number("rope_theta", base)
        scaling = SCALINGS[kind](within)
    return {"rope_base": base} | ({} if scaling is None else {"rope_scaling": scaling})


def _linear(options: Config) -> rope.Scaling:
    return rope.Scaling(options.number("factor"))


def _llama3(options: Config) -> rope.Scaling:
    low, high = options.number("low_freq_factor"), options.number("high_freq_factor")
    if not low < high:
        raise options.wrong("high_freq_factor", f"a number above low_freq_factor, {low}")
    return rope.Scaling(
        options.number("factor"), options.count("original_max_position_embeddings"), low, high
    )


SCALINGS = {"default": lambda options: None, "linear": _linear, "llama3": _llama3}
"""The `rope.Scaling` of each `rope_type`."""


def of_llama(a: Any) -> gpt.Params:
    """Its tensors as params."""

    def linear(name: str) -> dense.Params:
        return dense.Params(
            np.swapaxes(a[f"layers.*.{name}_proj.weight"], 1, 2), a.get(f"layers.*.{name}_proj.bias")
        )

    def norm(name: str) -> rms_norm.Params:
        return rms_norm.Params(a[f"layers.*.{name}_layernorm.weight"])

    q, k, v, out = (linear(f"self_attn.{name}") for name in "qkvo")
    mlp = gated_mlp.Params(*(linear(f"mlp.{name}") for name in ("gate", "up", "down")))
    return gpt.Params(
        embedding.Params(a["embed_tokens.weight"]),
        None,
        gpt.Block(norm("input"), q, k, v, out, norm("post_attention"), mlp),
        rms_norm.Params(a["norm.weight"]),
        _head(a),
    )


def _head(a: Mapping[str, Any]) -> dense.Params | None:
    """That of its own, or None for the table."""
    return dense.Params(a[HEAD].T, None) if HEAD in a else None


FORMS: dict[str, Callable[[Config], Form]] = {"gpt2": gpt2, "llama": llama}
"""By the `model_type` of the config."""
