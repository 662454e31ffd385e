"""The decoder over meshes: the loss and the gradient of one device, and four sums a block."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from manual_bp.models import gpt as one_device
from manual_bp.parallel import gpt, sequence
from tests.parallel.meshes import compiled, copies, mesh, on, put, sent

HEADS, WIDTH, HIDDEN, VOCABULARY = 4, 8, 12, 20
FORMS: dict[str, dict[str, Any]] = {
    "gpt2": {"context": 16},
    "llama": {"norm": "rms_norm", "gated": True, "bias": False, "tied": False, "key_heads": 2},
}
IGNORED = -1


def drawn(form, layers=2):
    """Params whose leaves are all of order one: none is zero, as at the start of training."""
    key = jax.random.key(0)
    params = one_device.init(
        key,
        VOCABULARY,
        layers=layers,
        width=WIDTH,
        heads=HEADS,
        hidden=HIDDEN,
        dtype=jnp.float64,
        **FORMS[form],
    )
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(
        tree, [jnp.asarray(rng.normal(size=x.shape) / 3 + (x.ndim == 1)) for x in leaves]
    )


def batch(examples=2, times=8):
    rng = np.random.default_rng(1)
    ids, targets = (jnp.asarray(rng.integers(0, VOCABULARY, (examples, times))) for _ in range(2))
    return ids, targets.at[0, :3].set(IGNORED)


def close(found, expected, tolerance=1e-12):
    """Each leaf by its own norm; one whose gradient is zero, as the keys' bias, by that of the largest."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    largest = max(float(jnp.linalg.norm(x)) for x in jax.tree.leaves(expected))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b) + 1e-15 * largest


def program(sizes, params, examples, **static):
    """The loss and the gradient on a mesh, with an axis for each name of the sizes."""
    of = gpt.specs(
        params, heads=HEADS, model="model" if "model" in sizes else None, size=sizes.get("model", 1)
    )
    tokens = P(*(name if name in sizes else None for name in ("data", "sequence")))
    named = {name: name for name in sizes}

    def step(params, examples):
        return gpt.value_and_grad(params, examples, heads=HEADS, ignore_label=IGNORED, **named, **static)

    devices = mesh(**sizes)
    f = on(devices, step, (of, (tokens, tokens)), (P(), of))
    params, examples = put(params, of, devices), put(examples, (tokens, tokens), devices)
    return compiled(f, params, examples), (params, examples)


def oracle(params, examples, **static):
    loss = jax_ref.models.gpt.loss
    return jax.value_and_grad(loss)(params, examples, heads=HEADS, ignore_label=IGNORED, **static)


MESHES = [
    ("gpt2", {"data": 2, "model": 2}, {}),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            ("llama", {"model": 2, "sequence": 2}, {"split_norms": True}),
            ("gpt2", {"model": 4}, {}),
            ("gpt2", {"model": 4}, {"split_norms": True}),
            ("gpt2", {"data": 2, "sequence": 2}, {}),
            ("gpt2", {"sequence": 4}, {}),
            ("llama", {"data": 1, "model": 2, "sequence": 2}, {}),
            ("llama", {"model": 2}, {"activation": "gelu_tanh"}),
            ("llama", {"model": 2, "sequence": 2}, {"split_norms": True, "keep": "inputs"}),
            ("gpt2", {"data": 2, "model": 2}, {"keep": "inputs"}),
        ]
    ),
]


def assert_four_sums_a_block(found, layers, numbers):
    """Each of as many bytes as the stream; around the blocks, those of the embedding, of the loss's maximum,
    of its sums, of the examples that count, and of the head; and one for the whole gradient over `data`.
    """
    assert {c.kind for c in found} == {"all-reduce"}
    in_loops = [c for c in found if c.times == layers]
    assert sum(c.times for c in in_loops) == 4 * layers
    stream = 1 * 8 * WIDTH * 8  # bytes: examples on a device, times, features
    assert {c.bytes for c in in_loops} == {stream}
    around = [stream, 8 * 8, 2 * 8 * 8, 2 * 8, stream, 8 * numbers]
    assert sorted(c.bytes for c in found if c.times == 1) == sorted(around)


@pytest.mark.parametrize(("form", "sizes", "static"), MESHES)
def test_it_is_the_decoder_of_one_device(form, sizes, static):
    params, examples = drawn(form), batch()
    run, args = program(sizes, params, examples, **static)
    found = run(*args)
    close(found, oracle(params, examples, **{k: static[k] for k in static.keys() & {"activation"}}))
    for leaf in jax.tree.leaves(found[1].norm):
        for copy in copies(leaf):
            np.testing.assert_array_equal(copy, copies(leaf)[0])
    if sizes == {"data": 2, "model": 2} and not static:
        numbers = sum(leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(found[1]))
        assert_four_sums_a_block(sent(run), 2, numbers)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_table_that_each_device_has(form):
    params, examples = drawn(form), batch()
    of = gpt.specs(params, heads=HEADS, model="model", size=2, split_vocabulary=False)

    def step(params, examples):
        return gpt.value_and_grad(
            params, examples, heads=HEADS, ignore_label=IGNORED, model="model", split_vocabulary=False
        )

    devices = mesh(model=2)
    found = on(devices, step, (of, P()), (P(), of))(put(params, of, devices), examples)
    close(found, oracle(params, examples))


def in_parts(params, **static):
    """The gradient over four devices that have examples, and of each param a part."""
    layout = gpt.layout(params, 4)
    of = gpt.layout_specs(layout, "data")
    devices, examples = mesh(data=4), batch(examples=4)

    def step(params, examples):
        return gpt.value_and_grad(params, examples, heads=HEADS, data="data", layout=layout, **static)

    run = on(devices, step, (of, (P("data"), P("data"))), (P(), of))
    args = put(params, of, devices), put(examples, (P("data"), P("data")), devices)
    return compiled(run, *args), args, examples


@pytest.mark.parametrize(
    ("form", "keep"),
    [("llama", "inputs"), *(pytest.param(form, "matmuls", marks=pytest.mark.slow) for form in FORMS)],
)
def test_params_in_parts_are_gathered_a_layer_at_a_time(form, keep):
    params = drawn(form)
    run, args, examples = in_parts(params, ignore_label=IGNORED, keep=keep)
    found = run(*args)
    close(found, oracle(params, examples))
    for leaf in jax.tree.leaves(found[1]):
        assert leaf.addressable_shards[0].data.size == leaf.size // 4
    of_layers, around = ([c.kind for c in sent(run) if c.times == times] for times in (2, 1))
    assert of_layers.count("all-gather") == 2, "once forward and once backward"
    assert of_layers.count("reduce-scatter") == 1
    assert around.count("all-gather") == around.count("reduce-scatter") == 1, "table, positions, norm, head"


@pytest.mark.slow
def test_in_bfloat16_and_with_a_cotangent():
    """No further from the gradient than one device is, of which the activations are rounded too."""
    params = jax.tree.map(lambda x: x.astype(jnp.float32), drawn("llama"))
    options: dict[str, Any] = {"ignore_label": IGNORED, "dcost": 8.0}
    run, args, examples = in_parts(params, dtype="bfloat16", **options)
    found = run(*args)
    exact, rounded = (
        one_device.value_and_grad(params, examples, heads=HEADS, dtype=dtype, **options)
        for dtype in (None, "bfloat16")
    )

    def distance(grads):
        off = [np.linalg.norm(a - b) for a, b in zip(*map(jax.tree.leaves, (grads, exact)), strict=True)]
        return np.linalg.norm(off)

    assert found[0].dtype == rounded[0].dtype
    assert jax.tree.map(lambda x: x.dtype, found[1]) == jax.tree.map(lambda x: x.dtype, params)
    assert distance(found) < 2 * distance(rounded)


def test_options_that_exclude_each_other():
    params, examples = drawn("gpt2"), batch()
    layout = gpt.layout(params, 4)
    with pytest.raises(ValueError, match=r"parallel.gpt: data was None and model None; with a layout the"):
        gpt.value_and_grad(params, examples, heads=HEADS, layout=layout)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_in_balanced_order(form):
    params, examples = drawn(form), batch(times=16)
    in_order = jax.tree.map(lambda x: sequence.balanced(x, 4), examples)
    run, args = program({"sequence": 4}, params, in_order, order="balanced")
    close(run(*args), oracle(params, examples))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_without_axes_it_is_the_model(form):
    params, examples = drawn(form), batch()
    static: dict[str, Any] = {"heads": HEADS, "ignore_label": IGNORED}
    found = gpt.value_and_grad(params, examples, **static)
    close(found, one_device.value_and_grad(params, examples, **static))


@pytest.mark.slow
def test_twelve_layers():
    params, examples = drawn("llama", 12), batch()
    run, args = program({"data": 2, "model": 2}, params, examples)
    close(run(*args), oracle(params, examples), 1e-10)


def test_lengths_that_do_not_divide():
    params = drawn("llama")
    with pytest.raises(
        ValueError, match=r"parallel.gpt: key_heads is 2; expected it to divide by 4, the size"
    ):
        gpt.specs(params, heads=HEADS, model="model", size=4)
    with pytest.raises(ValueError, match=r"parallel.gpt: heads is 4; expected it to divide by 3"):
        gpt.specs(params, heads=HEADS, model="model", size=3)
