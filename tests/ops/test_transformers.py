"""An outside oracle: small GPT-2 and Llama of Hugging Face with random weights, logits and every gradient.

Their weights are (out, in) in Llama, (in, out) in GPT-2 with those of q, k and v in one. The targets are the
tokens themselves: their loss moves them by one.
"""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp.models import gpt
from manual_bp.ops import dense, embedding, gated_mlp, layer_norm, rms_norm, rope

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")

LAYERS, IGNORED = 2, -100
IDS = np.random.default_rng(0).integers(0, 13, (3, 7))
TARGETS = np.where(np.arange(7) % 3 == 2, IGNORED, IDS)


def gpt2() -> Any:
    """A tied head, learned positions, biases."""
    config = transformers.GPT2Config(
        vocab_size=13, n_positions=9, n_embd=12, n_layer=LAYERS, n_head=3, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, attn_implementation="eager",
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def llama(**more: Any) -> Any:
    """Three heads, one of the keys."""
    config = transformers.LlamaConfig(
        vocab_size=13, hidden_size=12, intermediate_size=17, num_hidden_layers=LAYERS, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=False,
        attn_implementation="eager", **more,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


SCALING = rope.Scaling(8.0, 20, 1.0, 4.0)


def llama3() -> Any:
    """One pair of a head keeps its angle, or nearly; the other is slowed in part."""
    return llama(
        rope_scaling={
            "rope_type": "llama3",
            "rope_theta": 10.0,
            "factor": SCALING.factor,
            "original_max_position_embeddings": SCALING.context,
            "low_freq_factor": SCALING.low,
            "high_freq_factor": SCALING.high,
        }
    )


def of_gpt2(leaves: dict[str, Any]) -> gpt.Params:
    """Our params, or their gradients, of theirs by name."""

    def stacked(name: str) -> Any:
        return np.stack([leaves[f"transformer.h.{layer}.{name}"] for layer in range(LAYERS)])

    def norm(name: str) -> Any:
        return layer_norm.Params(*(stacked(f"{name}.{part}") for part in ("weight", "bias")))

    def affine(name: str) -> Any:
        return dense.Params(*(stacked(f"{name}.{part}") for part in ("weight", "bias")))

    joined = affine("attn.c_attn")
    parts = zip(*(np.split(np.asarray(x), 3, -1) for x in joined), strict=True)
    q, k, v = (dense.Params(*part) for part in parts)
    mlp = gpt.MLP(affine("mlp.c_fc"), affine("mlp.c_proj"))
    last = layer_norm.Params(*(leaves[f"transformer.ln_f.{part}"] for part in ("weight", "bias")))
    return gpt.Params(
        embedding.Params(leaves["transformer.wte.weight"]),
        embedding.Params(leaves["transformer.wpe.weight"]),
        gpt.Block(norm("ln_1"), q, k, v, affine("attn.c_proj"), norm("ln_2"), mlp),
        last,
        None,
    )


def of_llama(leaves: dict[str, Any]) -> gpt.Params:
    """Our params, or their gradients, of theirs by name."""

    def stacked(name: str) -> Any:
        return np.stack([leaves[f"model.layers.{layer}.{name}.weight"] for layer in range(LAYERS)])

    def linear(name: str) -> Any:
        return dense.Params(np.swapaxes(stacked(name), 1, 2), None)

    q, k, v, out = (linear(f"self_attn.{name}_proj") for name in "qkvo")
    mlp = gated_mlp.Params(*(linear(f"mlp.{name}_proj") for name in ("gate", "up", "down")))
    norm1, norm2 = (rms_norm.Params(stacked(f"{name}_layernorm")) for name in ("input", "post_attention"))
    return gpt.Params(
        embedding.Params(leaves["model.embed_tokens.weight"]),
        None,
        gpt.Block(norm1, q, k, v, out, norm2, mlp),
        rms_norm.Params(leaves["model.norm.weight"]),
        dense.Params(leaves["lm_head.weight"].T, None),
    )


FORMS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "gpt2": (gpt2, of_gpt2, {"eps": 1e-5}),
    "llama": (llama, of_llama, {"eps": 1e-6}),
    "llama3": (llama3, of_llama, {"eps": 1e-6, "rope_base": 10.0, "rope_scaling": SCALING}),
}


@pytest.fixture
def all_in_float64(monkeypatch):
    """Llama's norms and angles are in float32 whatever the model is in: here they are not."""
    of_llama = transformers.models.llama.modeling_llama
    names = {name: getattr(torch, name) for name in dir(torch) if not name.startswith("_")}
    names |= dict.fromkeys(("float", "float32"), torch.float64)
    for module in (of_llama, transformers.modeling_rope_utils):
        monkeypatch.setattr(module, "torch", SimpleNamespace(**names))
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.mark.usefixtures("all_in_float64")
@pytest.mark.parametrize("form", FORMS)
def test_logits_and_every_gradient_are_those_of_transformers(form):
    make, converted, static = FORMS[form]
    torch.manual_seed(0)
    theirs = make().double()
    with torch.no_grad():
        for leaf in theirs.parameters():  # gains of 1 and biases of 0 hide mistakes
            leaf.add_(0.3 * torch.randn_like(leaf))
    if form == "llama":
        theirs.model.rotary_emb.inv_freq = 10000.0 ** -(torch.arange(0, 4, 2).double() / 4)
    if form == "llama3":
        scaled = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"]
        theirs.model.rotary_emb.inv_freq, _ = scaled(theirs.config, "cpu")
    output = theirs(input_ids=torch.tensor(IDS), labels=torch.tensor(TARGETS))
    output.loss.backward()
    params = converted({name: leaf.detach().numpy() for name, leaf in theirs.named_parameters()})
    expected = converted({name: leaf.grad.numpy() for name, leaf in theirs.named_parameters()})

    params, ids = jax.tree.map(jnp.asarray, (params, IDS))
    logits, _ = gpt.fwd(params, ids, heads=3, **static)
    assert np.linalg.norm(logits - output.logits.detach().numpy()) <= 1e-10 * np.linalg.norm(logits)
    batch = (ids, jnp.asarray(np.pad(TARGETS[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED)))
    cost, grads = gpt.value_and_grad(params, batch, heads=3, ignore_label=IGNORED, **static)
    assert float(cost) == pytest.approx(output.loss.item(), rel=1e-12)
    assert jax.tree.structure(grads) == jax.tree.structure(expected)
    pairs = zip(jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(expected), strict=True)
    size = np.linalg.norm(expected.blocks.q.w)
    for (path, found), leaf in pairs:
        name = jax.tree_util.keystr(path)
        of_rounding = name == ".blocks.k.b"  # it moves all scores of a query alike: the gradient is zero
        bound = size if of_rounding else np.linalg.norm(leaf)
        assert found.shape == leaf.shape, name
        assert np.linalg.norm(found - leaf) <= 1e-10 * bound, name
