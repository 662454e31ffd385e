"""The forms of a convolution are one: what a CPU takes, and XLA's own, which other machines take."""

import jax
import numpy as np
import pytest

from manual_bp import windows
from manual_bp.convolution import by_groups, by_shifts, by_xla, choice
from tests.close import close

FORMS = [(by_shifts, 1, 1), (by_shifts, 1, 2), (by_groups, 2, 3), (by_groups, 1, 1)]
"""A form, features in and features out of each of three groups."""
OPTIONS = [
    {"padding": "SAME"},
    {"padding": "VALID", "dilation": 2},
    {"padding": ((2, 0), (1, 3)), "strides": (2, 3)},
    {"padding": ((3, 2), (0, 5)), "strides": 3, "dilation": (1, 2)},
    {"padding": "VALID", "strides": 4},
]


@pytest.mark.parametrize(("batch", "options"), [(0, OPTIONS[0]), *((3, o) for o in OPTIONS)], ids=str)
@pytest.mark.parametrize(("form", "i", "o"), FORMS)
def test_a_form_is_that_of_xla(form, i, o, batch, options):
    groups, sizes, window = 3, (6, 7), (3, 2)
    axes = windows.axes("conv", sizes, window, **{"strides": 1, **options})
    rng = np.random.default_rng(0)
    w = rng.normal(size=(*window, i, groups * o))
    x = rng.normal(size=(batch, *sizes, groups * i))
    dy = rng.normal(size=(batch, *(a.places for a in axes), groups * o))

    def of(form):
        def three(w, x, dy):
            options = {"axes": axes, "groups": groups}
            gradients = form.kernel_gradient(w, x, dy, **options), form.input_gradient(w, x, dy, **options)
            return form.output(w, x, **options), *gradients

        return jax.jit(three)(w, x, dy)

    close(of(form), of(by_xla), 1e-14)


@pytest.mark.parametrize(
    ("shape", "groups", "form"),
    [
        ((3, 3, 4, 8), 1, by_xla),
        ((3, 3, 1, 8), 8, by_shifts),
        ((3, 3, 1, 8), 4, by_shifts),
        ((9, 9, 1, 8), 8, by_groups),
        ((3, 3, 2, 8), 4, by_groups),
    ],
)
def test_which_form_is_for_a_cpu(shape, groups, form):
    assert choice.on_cpu(np.zeros(shape), groups) is form  # pyright: ignore[reportArgumentType]
