"""Generation with a cache: the logits of the whole text at every position, and what is drawn of them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp import generation
from manual_bp.models import gpt
from tests.close import close

FORMS: dict[str, dict[str, Any]] = {
    "gpt2": {"context": 9},
    "llama": {"norm": "rms_norm", "gated": True, "bias": False, "tied": False, "key_heads": 1},
}
IDS = jnp.asarray(np.random.default_rng(0).integers(0, 5, (3, 9)))


def drawn(form):
    params = gpt.init(
        jax.random.key(0), 5, layers=2, width=4, heads=2, hidden=3, dtype=jnp.float64, **FORMS[form]
    )
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: p + 0.5 * rng.normal(size=p.shape), params)


@pytest.mark.parametrize("form", FORMS)
def test_a_prompt_and_what_follows_have_the_logits_of_the_whole_text(form):
    """A prompt of four tokens, one more, one more, and the last three at once."""
    params = drawn(form)
    whole = jax.jit(lambda p: gpt.fwd(p, IDS, heads=2)[0])(params)
    step = jax.jit(partial(generation.extend, heads=2))
    cache, found = generation.empty(params, 3, 9, heads=2), []
    for begin, end in ((0, 4), (4, 5), (5, 6), (6, 9)):
        logits, cache = step(params, cache, IDS[:, begin:end])
        found.append(logits)
    close(jnp.concatenate(found, 1), whole, 1e-12)
    assert cache.taken == 9
    logits, _ = step(params, cache, IDS[:, :1])
    assert np.all(np.isnan(logits)), "the cache is full"


def test_the_likeliest_tokens_are_those_of_the_whole_text_again_and_again():
    """Beyond the cache too, which then begins with its later half."""
    params = drawn("gpt2")
    draw = jax.jit(partial(generation.sample, length=11, capacity=8, heads=2, top_k=1))
    found = draw(params, jax.random.key(0), IDS[:, :3])
    forward = jax.jit(lambda p, ids: gpt.fwd(p, ids, heads=2)[0])
    text = IDS[:, :3]
    seen = text
    for number in range(11):
        padded = jnp.pad(seen, ((0, 0), (0, 9 - seen.shape[1])))
        new = jnp.argmax(forward(params, padded)[:, seen.shape[1] - 1], -1)[:, None]
        text = jnp.concatenate([text, new], 1)
        seen = jnp.concatenate([seen, new], 1)
        if number in (4, 8):  # eight are in the cache
            seen = seen[:, -4:]
    assert np.array_equal(found, text[:, 3:])


def test_tokens_are_drawn_as_often_as_they_are_likely():
    """One after each of many equal prompts, at a temperature, of the three likeliest."""
    params = drawn("llama")
    prompt = jnp.tile(IDS[:1, :2], (4000, 1))
    found = generation.sample(
        params, jax.random.key(0), prompt, 1, capacity=3, heads=2, temperature=2.0, top_k=3
    )
    logits = np.asarray(gpt.fwd(params, IDS[:1, :2], heads=2)[0][0, -1]) / 2
    logits[np.argsort(logits)[:2]] = -np.inf
    expected = np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(np.bincount(found[:, 0], minlength=5) / 4000, expected, atol=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: generation.empty(p, 1, 10, heads=2), "capacity was 10; expected at most 9, the positions"),
        (lambda p: generation.empty(p, 1, 0, heads=2), "capacity was 0; expected a positive integer"),
        (lambda p: generation.extend(p, generation.empty(p, 2, 9, heads=2), IDS[:, :1], heads=2),
         "the number of texts was 3; expected 2, the cache's"),
        (lambda p: generation.sample(p, jax.random.key(0), IDS, 1, capacity=9, heads=2),
         "the length of the prompt was 9; expected a token or more, and fewer than the 9 of capacity"),
        (lambda p: generation.sample(p, jax.random.key(0), IDS[:, :2], 1, capacity=9, heads=2, top_k=6),
         "top_k was 6; expected 1 to 5, or None"),
        (lambda p: generation.sample(p, jax.random.key(0), IDS, 1, capacity=10, heads=2, temperature=0.0),
         "temperature was 0.0; expected a positive number"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(drawn("gpt2"))


def test_after_a_token_that_is_none_there_is_none():
    params = gpt.init(jax.random.key(0), 5, layers=1, width=8, heads=2, dtype=jnp.float64)
    prompt = jnp.array([[1, 2], [1, 5]])
    found = generation.sample(params, jax.random.key(1), prompt, 3, capacity=6, heads=2)
    assert np.array_equal(found[1], [-1, -1, -1])
    assert np.all(found[0] >= 0)
