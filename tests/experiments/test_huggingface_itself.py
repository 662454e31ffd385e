"""An outside oracle: folders that transformers itself writes, and its logits of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.real_gpt2 import folder
from manual_bp.models import gpt
from tests.ops.test_transformers import FORMS, IDS, all_in_float64, torch  # noqa: F401


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
