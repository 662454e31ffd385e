"""The verifier on the collection of planted mistakes: all are caught, and no right pair is accused."""

import jax
import numpy as np
import pytest

from jax_ref import verify
from tests.planted import attention, elementwise, linear, losses, normalization, recurrent, sequence, spatial

MODULES = (attention, elementwise, linear, losses, normalization, recurrent, sequence, spatial)
ORIGINALS = {name: original for module in MODULES for name, original in module.ORIGINALS.items()}
MISTAKES = {name: planted for module in MODULES for name, planted in module.MISTAKES.items()}


def arguments(name):
    return ORIGINALS[name].args(np.random.default_rng(0), False)


def test_the_collection():
    assert len(ORIGINALS) >= 25
    assert len(MISTAKES) >= 80
    assert {planted.original for planted in MISTAKES.values()} <= set(ORIGINALS)
    assert {kind for planted in MISTAKES.values() for kind in planted.kinds} <= set(verify.KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ORIGINALS)
def test_no_false_alarm(name):
    original = ORIGINALS[name]
    report = verify.check(original.fwd, original.bwd, *arguments(name), reference=original.reference)
    assert report.ok, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught(name):
    planted = MISTAKES[name]
    reference = ORIGINALS[planted.original].reference
    with jax.numpy_rank_promotion("allow"):
        report = verify.check(planted.fwd, planted.bwd, *arguments(planted.original), reference=reference)
    assert not report.ok, str(report)
