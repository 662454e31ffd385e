"""The pipeline: its schedule, and the gradient of one device for any number of microbatches."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from manual_bp.ops import activations, dense, linear_cross_entropy, squared_error
from manual_bp.parallel import data, pipeline
from tests.close import close
from tests.parallel.meshes import compiled, mesh, on, sent


@pytest.mark.parametrize("microbatches", range(1, 10))
@pytest.mark.parametrize("stages", range(1, 6))
def test_schedule(stages, microbatches):
    ticks = pipeline.schedule(stages, microbatches)
    assert len(ticks) == microbatches + 2 * (stages - 1)
    done = {"forward": {}, "backward": {}}
    for t, tick in enumerate(ticks):
        for what, of_stages in tick._asdict().items():
            assert len(of_stages) == stages
            for s, m in enumerate(of_stages):
                if m is not None:
                    assert (s, m) not in done[what]
                    done[what][s, m] = t
    everything = {(s, m) for s in range(stages) for m in range(microbatches)}
    assert done["forward"].keys() == done["backward"].keys() == everything
    for (s, m), t in done["forward"].items():
        assert t <= done["backward"][s, m]
        if s:  # each stage one tick after the one before, and backwards one before that
            assert t == done["forward"][s - 1, m] + 1
            assert done["backward"][s, m] == done["backward"][s - 1, m] - 1
    for s in range(stages):
        begun = [m for t, tick in enumerate(ticks) for m in [tick.forward[s]] if m is not None]
        assert begun == sorted(begun)
        for t in range(len(ticks)):
            live = [m for m in range(microbatches) if done["forward"][s, m] <= t <= done["backward"][s, m]]
            assert len(live) <= min(2 * (stages - 1 - s) + 1, microbatches)
            assert len({m % min(microbatches, 2 * stages - 1) for m in live}) == len(
                live
            )  # slots of their own


class Stage:
    """x + tanh(x w + b)."""

    @staticmethod
    def fwd(params, x):
        z, res_z = dense.fwd(dense.Params(params["w"][0], params["b"][0]), x)
        a, res_a = activations.tanh.fwd(z)
        return x + a, (res_z, res_a)

    @staticmethod
    def bwd(params, res, dy):
        of = dense.Params(params["w"][0], params["b"][0])
        d, dx = dense.bwd(of, res[0], activations.tanh.bwd(res[1], dy))
        return jax.tree.map(lambda d: d[None], {"w": d.w, "b": d.b}), dy + dx


WIDTH, CLASSES = 5, 3


def drawn(stages, microbatches, each=3):
    rng = np.random.default_rng(stages + 10 * microbatches)
    params = {"w": rng.normal(size=(stages, WIDTH, WIDTH)) / 2, "b": rng.normal(size=(stages, WIDTH))}
    head = dense.Params(*map(jnp.asarray, (rng.normal(size=(WIDTH, CLASSES)), rng.normal(size=CLASSES))))
    xs = jnp.asarray(rng.normal(size=(microbatches, each, WIDTH)))
    labels = jnp.asarray(rng.integers(0, CLASSES, (microbatches, each)))
    return jax.tree.map(jnp.asarray, params), head, xs, labels


def plain(params, x):
    for w, b in zip(params["w"], params["b"], strict=True):
        x = x + jnp.tanh(jax_ref.ops.dense.apply(dense.Params(w, b), x))
    return x


def of_one_device(params, head, xs, labels):
    def loss(params, head, xs):
        logits = jax_ref.ops.dense.apply(head, plain(params, xs))
        return jnp.mean(jax_ref.ops.softmax_cross_entropy.apply(logits, labels))

    cost, (d_params, d_head, dxs) = jax.value_and_grad(loss, (0, 1, 2))(params, head, xs)
    return cost, pipeline.Gradient(d_params, d_head, dxs)


def program(stages, args, *, check_vma=True, **options) -> Any:
    def step(params, head, xs, labels):
        return pipeline.one_f_one_b(
            Stage, params, xs, labels, linear_cross_entropy, head, axis="s", **options
        )

    of: Any = {"w": P("s"), "b": P("s")}
    whole: Any = P()
    f = on(
        mesh(s=stages),
        step,
        (of, P(), P(), P()),
        (whole, pipeline.Gradient(of, whole, whole)),
        check_vma=check_vma,
    )
    return compiled(f, *args)


@pytest.mark.parametrize(
    ("stages", "microbatches", "recompute", "check_vma"),
    [(4, 7, False, True)]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            (3, 2, True, True), (1, 1, False, True), (1, 3, True, True), (2, 1, False, True),
            (4, 1, False, True),
            (4, 4, True, False), (4, 9, True, True), (3, 5, False, False),
        ]
    ],
)  # fmt: skip
def test_it_is_the_gradient_of_one_device(stages, microbatches, recompute, check_vma):
    args = drawn(stages, microbatches)
    found = program(stages, args, recompute=recompute, check_vma=check_vma)
    close(found(*args), of_one_device(*args), 1e-12)
    counts = {}
    for c in sent(found):
        counts[c.kind] = counts.get(c.kind, 0) + c.times * (c.kind == "collective-permute")
    if min(stages, microbatches) > 1:  # x in all ticks but those of backwards alone, and dx likewise
        assert counts["collective-permute"] == 2 * (stages - 1 + microbatches)


def test_beside_data_parallelism_and_without_a_head():
    """Each of two shards has a half of every microbatch; the loss has no params, and targets a cotangent.

    The forward is done again in the backward.
    """
    params, _, xs, _ = drawn(2, 3, each=4)
    targets = xs[::-1]

    def step(params, xs, targets):
        cost, d = pipeline.one_f_one_b(
            Stage, params, xs, targets, squared_error, axis="s", dcost=1 / 2, recompute=True
        )
        assert d.head is None
        return data.all_reduce(cost / 2, axis="d"), data.all_reduce(d.params, axis="d"), d.xs

    of, split = {"w": P("s"), "b": P("s")}, P(None, "d")
    f = on(mesh(d=2, s=2), step, (of, split, split), (P(), of, split))

    def loss(params, xs):
        return jnp.mean(jax_ref.ops.squared_error.apply(plain(params, xs), targets))

    cost, d = jax.value_and_grad(loss, (0, 1))(params, xs)
    close(f(params, xs, targets), (cost, *d), 1e-12)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_microbatches():
    temporary = {}
    for microbatches in (9, 29):
        args = drawn(4, microbatches, each=64)
        memory = program(4, args).memory_analysis()
        temporary[microbatches] = memory.temp_size_in_bytes
    a_microbatch = 64 * WIDTH * 8
    # dxs has one for each, and its sum over the stages another; all that is saved does not
    assert (temporary[29] - temporary[9]) / 20 <= 3.5 * a_microbatch
