"""Folders of GPT-2 and Llama with safetensors: read bit for bit, and refused by the name of what is wrong."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from experiments.common.errors import UserError
from experiments.real_gpt2 import folder
from manual_bp.models import gpt
from manual_bp.ops import dense, rope

LAYERS, VOCABULARY, HEADS = 2, 13, 3
OF_GPT2 = {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": 9, "n_embd": 12, "n_layer": LAYERS,
           "n_head": HEADS, "n_inner": None, "bos_token_id": 5, "eos_token_id": 6}  # fmt: skip
OF_LLAMA = {"model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 12, "intermediate_size": 17,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 1,
            "max_position_embeddings": 9, "bos_token_id": 50256, "eos_token_id": [3, 4],
            "rope_theta": 500.0}  # fmt: skip


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}  # fmt: skip


def drawn(scale=1.0, **form):
    """Random params, all of whose leaves are so: gains of 1 and biases of 0 hide mistakes."""
    options = {"layers": LAYERS, "width": 12, "heads": HEADS, **form}
    params = jax.eval_shape(lambda: gpt.init(jax.random.key(0), VOCABULARY, **options))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: (scale * rng.standard_normal(p.shape)).astype(p.dtype), params)


def tensors_of_gpt2(params):
    """As transformers has them."""
    b = params.blocks
    assert params.positions is not None
    found = {"wte.weight": params.embedding.table, "wpe.weight": params.positions.table}
    found |= {"ln_f.weight": params.norm.g, "ln_f.bias": params.norm.b}
    for i in range(LAYERS):
        for name, norm in (("ln_1", b.norm1), ("ln_2", b.norm2)):
            found |= {f"h.{i}.{name}.weight": norm.g[i], f"h.{i}.{name}.bias": norm.b[i]}
        joined: Any = (np.concatenate([m[k] for m in (b.q, b.k, b.v)], -1) for k in (0, 1))
        maps = {
            "attn.c_attn": dense.Params(*joined),
            "attn.c_proj": b.out,
            "mlp.c_fc": b.mlp.up,
            "mlp.c_proj": b.mlp.down,
        }
        for name, m in maps.items():
            found |= {f"h.{i}.{name}.weight": m.w[i], f"h.{i}.{name}.bias": m.b[i]}
    found = {f"transformer.{name}": tensor for name, tensor in found.items()}
    return found if params.head is None else {**found, "lm_head.weight": params.head.w.T}


def tensors_of_llama(params):
    b = params.blocks
    found = {"model.embed_tokens.weight": params.embedding.table, "model.norm.weight": params.norm.g}
    for i in range(LAYERS):
        maps = {f"self_attn.{x}_proj": m for x, m in zip("qkvo", (b.q, b.k, b.v, b.out), strict=True)}
        maps |= {f"mlp.{x}_proj": getattr(b.mlp, x) for x in ("gate", "up", "down")}
        for name, m in maps.items():
            found[f"model.layers.{i}.{name}.weight"] = m.w[i].T
            if m.b is not None:
                found[f"model.layers.{i}.{name}.bias"] = m.b[i]
        found[f"model.layers.{i}.input_layernorm.weight"] = b.norm1.g[i]
        found[f"model.layers.{i}.post_attention_layernorm.weight"] = b.norm2.g[i]
    return found if params.head is None else {**found, "lm_head.weight": params.head.w.T}


def written(path, config, tensors, shards=1):
    """A folder of these, in one file or in some with an index."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    if shards == 1:
        save_file(arrays, path / "model.safetensors")
        return path
    places = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(arrays)}
    for place in set(places.values()):
        save_file({name: arrays[name] for name in arrays if places[name] == place}, path / place)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return path


GATED = {"norm": "rms_norm", "gated": True, "hidden": 17, "key_heads": 1}
FORMS = {
    "gpt2": (OF_GPT2, {"context": 9}, tensors_of_gpt2, 1),
    "gpt2 untied": (
        OF_GPT2 | {"tie_word_embeddings": False},
        {"context": 9, "tied": False},
        tensors_of_gpt2,
        3,
    ),
    "gpt2 in bfloat16": (OF_GPT2, {"context": 9, "dtype": jnp.bfloat16}, tensors_of_gpt2, 1),
    "llama": (OF_LLAMA, {**GATED, "bias": False, "tied": False}, tensors_of_llama, 2),
    "llama tied": (OF_LLAMA | {"tie_word_embeddings": True}, {**GATED, "bias": False}, tensors_of_llama, 1),
    "llama with biases": (
        OF_LLAMA | {"attention_bias": True, "mlp_bias": True},
        {**GATED, "tied": False, "dtype": jnp.float64},
        tensors_of_llama,
        1,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_is_written_is_read_bit_for_bit(name, tmp_path):
    config, form, tensors, shards = FORMS[name]
    params = drawn(**form)
    found = folder.load(written(tmp_path, config, tensors(params), shards))
    assert jax.tree.structure(found.params) == jax.tree.structure(params)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(found.params), jax.tree.leaves(params), strict=True
    ):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), path
        assert np.array_equal(a, b), path
    of_gpt2 = {"heads": 3, "activation": "gelu_tanh", "eps": 1e-5}
    of_llama = {"heads": 3, "activation": "silu", "eps": 1e-6, "rope_base": 500.0}
    told = (of_gpt2, 9, 5, (6,)) if name.startswith("gpt2") else (of_llama, 9, 0, (3, 4))
    assert found[1:] == told


ANGLES = [
    ({}, 500.0, None),
    ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 500.0, rope.Scaling(4.0)),
    ({"rope_scaling": LLAMA3}, 500.0, rope.Scaling(8.0, 8192, 1.0, 4.0)),
    ({"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}, 5e5, rope.Scaling(8.0, 8192, 1.0, 4.0)),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, 5e5, None),
]


@pytest.mark.parametrize(("config", "base", "scaling"), ANGLES)
def test_rotary_positions_of_older_and_newer_configs(config, base, scaling, tmp_path):
    params = drawn(**GATED, bias=False, tied=False)
    found = folder.load(written(tmp_path, OF_LLAMA | config, tensors_of_llama(params)))
    assert (found.static["rope_base"], found.static.get("rope_scaling")) == (base, scaling)


def test_what_older_files_have_besides(tmp_path):
    """No prefix, masks, and a head that is the table."""
    params = drawn(context=9)
    tensors = {name.removeprefix("transformer."): t for name, t in tensors_of_gpt2(params).items()}
    tensors |= {"h.0.attn.bias": np.ones((1, 1, 9, 9), bool), "lm_head.weight": params.embedding.table}
    found = folder.load(written(tmp_path, OF_GPT2, tensors))
    assert jax.tree.all(jax.tree.map(np.array_equal, found.params, params))
    tensors["lm_head.weight"] = params.embedding.table + np.eye(13, 12, dtype=np.float32)
    with pytest.raises(
        UserError, match=r"lm_head\.weight in .* is not the table, and the config says that it"
    ):
        folder.load(written(tmp_path, OF_GPT2, tensors))


def without(*names):
    return lambda tensors: {name: t for name, t in tensors.items() if name not in names}


WRONG_TENSORS = {
    "missing": (
        without("transformer.h.1.attn.c_proj.bias"),
        r"lacks the tensor h\.1\.attn\.c_proj\.bias, which its config asks for",
    ),
    "many missing": (
        lambda tensors: {n: t for n, t in tensors.items() if ".1." not in n},
        r"lacks h\.1\.attn\.c_attn\.bias, .*, h\.1\.attn\.c_proj\.weight and 8 more tensors, which",
    ),
    "unknown": (
        lambda tensors: {**tensors, "transformer.h.2.ln_1.bias": np.ones(12, np.float32)},
        r"has the tensor h\.2\.ln_1\.bias, of which its config knows nothing",
    ),
    "transposed": (
        lambda tensors: {**tensors, "transformer.h.0.mlp.c_fc.weight": np.ones((48, 12), np.float32)},
        r"h\.0\.mlp\.c_fc\.weight in .* has shape \(48, 12\); expected \(12, 48\)",
    ),
    "integers": (
        lambda tensors: {**tensors, "transformer.wte.weight": np.ones((13, 12), np.int32)},
        "transformer.wte.weight in .* has dtype I32; expected F64, F32, F16, BF16",
    ),
}


@pytest.mark.parametrize("name", WRONG_TENSORS)
def test_tensors_that_are_not_those_of_the_config(name, tmp_path):
    change, message = WRONG_TENSORS[name]
    tensors = change(tensors_of_gpt2(drawn(context=9)))
    with pytest.raises(UserError, match=message):
        folder.load(written(tmp_path, OF_GPT2, tensors))


WRONG_CONFIGS = [
    ([], r"config\.json holds no JSON object"),
    ({}, "model_type in .* was None; expected gpt2 or llama"),
    ({"model_type": "gpt3"}, "model_type in .* was 'gpt3'; did you mean 'gpt2'"),
    (OF_GPT2 | {"n_layer": 10**9}, "has 28 tensors, too few for the 1000000000 layers of its config"),
    (OF_GPT2 | {"n_layer": 2.0}, r"n_layer in .* was 2\.0; expected a positive integer"),
    (OF_GPT2 | {"n_layer": 3}, r"lacks h\.2\.attn\.c_attn\.bias, .* and 8 more tensors"),
    (OF_GPT2 | {"n_head": 5}, "n_head in .* was 5; expected a number that divides the 12 of n_embd"),
    (OF_GPT2 | {"vocab_size": 14}, r"wte\.weight in .* has shape \(13, 12\); expected \(14, 12\)"),
    (OF_GPT2 | {"activation_function": "gelu_now"}, "activation_function in .* 'gelu_now'; did you"),
    (OF_GPT2 | {"activation_function": 3}, "activation_function in .* was 3; expected the name"),
    (OF_GPT2 | {"layer_norm_epsilon": "x"}, "layer_norm_epsilon in .* was 'x'; expected a positive number"),
    (OF_GPT2 | {"tie_word_embeddings": 1}, "tie_word_embeddings in .* was 1; expected true or false"),
    (OF_GPT2 | {"tie_word_embeddings": False}, r"lacks the tensor lm_head\.weight"),
    (OF_GPT2 | {"bos_token_id": "<s>"}, "bos_token_id in .* was '<s>'; expected a token"),
    (OF_GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "was True; expected False, which is what gpt has"),
    (OF_LLAMA | {"num_key_value_heads": 2}, "num_key_value_heads in .* was 2; expected a number"),
    (OF_LLAMA | {"head_dim": 3}, "head_dim in .* was 3; expected an even number of features"),
    (OF_LLAMA | {"rope_scaling": {"rope_type": "yarn"}}, "expected a rope_type of default, linear, llama3"),
    (OF_LLAMA | {"rope_scaling": {"type": "dynamic"}}, "expected a rope_type of default, linear, llama3"),
    (OF_LLAMA | {"rope_scaling": {"type": "linear"}}, "factor in .* was None; expected a positive number"),
    (OF_LLAMA | {"rope_scaling": LLAMA3 | {"high_freq_factor": 1}}, "expected a number above low_freq"),
    (OF_LLAMA | {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 0.5}}, "a positive integer"),
    (OF_LLAMA | {"rope_scaling": 2}, "rope_scaling in .* was 2; expected an object"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "message"), WRONG_CONFIGS)
def test_configs_of_other_models(config, message, tmp_path):
    with pytest.raises(UserError, match=message):
        folder.load(written(tmp_path, config, tensors_of_gpt2(drawn(context=9))))


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r"config\.json cannot be read: No such file"):
        folder.load(tmp_path)
    path = written(tmp_path, OF_GPT2, tensors_of_gpt2(drawn(context=9)))
    content = (path / "model.safetensors").read_bytes()
    for spoiled in (b"", b"\xff" * 99, content[:-1], b"\0" * 8 + content):
        (path / "model.safetensors").write_bytes(spoiled)
        with pytest.raises(UserError, match=r"model\.safetensors cannot be read: .*header"):
            folder.load(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read: No such file"):
        folder.load(path)
    for index, message in (
        ("[]", "has no weight_map"),
        ('{"weight_map": {"a": 3}}', "has no weight_map"),
        ('{"weight_map": {"a": "../a"}}', "names the file ../a; expected one in its folder"),
        ("[" * 10**5, "cannot be read"),
        ("{", "cannot be read"),
    ):
        (path / "model.safetensors.index.json").write_text(index)
        with pytest.raises(UserError, match=message):
            folder.load(path)
