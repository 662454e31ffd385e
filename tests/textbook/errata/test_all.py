"""The errata all together: each has its test."""

from manual_bp.textbook.errata import MISTAKES
from tests.textbook.errata import (
    test_classical,
    test_four_equations,
    test_index_and_vector_forms,
    test_matrix_form,
    test_paths,
    test_two_passes,
)

FILES = (
    test_matrix_form,
    test_two_passes,
    test_index_and_vector_forms,
    test_paths,
    test_four_equations,
    test_classical,
)


def test_every_mistake_is_here():
    assert {name for file in FILES for name in file.OFF} == set(MISTAKES)
