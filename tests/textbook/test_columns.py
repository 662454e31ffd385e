"""Column layers and the rows of `manual_bp.models.mlp`: there and back."""

import pytest

from manual_bp.models import mlp
from manual_bp.textbook import columns, index_and_vector_forms
from tests.textbook.networks import BOUND, LAYERS, W, X, error


def test_the_adaptor_goes_both_ways():
    params = columns.to_mlp(LAYERS)
    assert error(columns.from_mlp(params), LAYERS) == 0
    output, _ = mlp.fwd(params, columns.rows(X), activation="sigmoid", output_activation="sigmoid")
    states = index_and_vector_forms.forward(LAYERS, X)
    assert error(columns.columns(output), states.a[-1]) <= BOUND
    bare = columns.matrices_to_mlp(W)
    assert error(columns.matrices_from_mlp(bare), W) == 0
    with pytest.raises(ValueError, match=r"layers\[0\].b was None; expected a bias"):
        columns.from_mlp(bare)
    with pytest.raises(ValueError, match=r"layers\[0\].b .* expected None"):
        columns.matrices_from_mlp(params)
