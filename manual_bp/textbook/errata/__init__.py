"""What is wrong in the notes, and what people get wrong: to be caught, never to be used.

`MISTAKES` are gradients of a whole network, `FUNCTIONS` single functions, and `REMARKS` what no program can
get wrong, all by name; a name begins with the number of its note, or it is a classic. Each says what is
printed, what is right and by how much it is off. `python -m manual_bp.textbook.errata` prints them.
"""

from manual_bp.textbook.errata import (
    classical,
    four_equations,
    index_and_vector_forms,
    matrix_form,
    paths,
    two_passes,
)
from manual_bp.textbook.errata.mistake import Mistake, Remark, WrongFunction
from manual_bp.textbook.errata.remarks import REMARKS

MISTAKES: dict[str, Mistake] = (
    matrix_form.MISTAKES
    | two_passes.MISTAKES
    | index_and_vector_forms.MISTAKES
    | paths.MISTAKES
    | four_equations.MISTAKES
    | classical.MISTAKES
)
FUNCTIONS: dict[str, WrongFunction] = paths.FUNCTIONS | four_equations.FUNCTIONS

__all__ = ["FUNCTIONS", "MISTAKES", "REMARKS", "Mistake", "Remark", "WrongFunction"]
