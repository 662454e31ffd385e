"""What is wrong in the notes, and what people get wrong: to be caught, never to be used.

`MISTAKES` are gradients of a whole network, by name; `FUNCTIONS` are single functions. Each says what is
printed, what is right and by how much it is off. The errors of the notes that are no code, as a program
cannot make them:

- 000: a batch loss and a single loss by the same letter; z for the output, and again in the chain rule.
- 001: L of all examples and l of one are not linked (if L is the sum and taken for the mean: N times too
  large, the mistake "002 cost factor dropped").
- 002 (1): the cost by the letter of the loss; the parameters' set with l = 1:K, where K is no depth.
- 002 (8): the entries of one hidden vector with layer superscripts.
- 003 (2): a_L11 with an index too many.
- 004: the proof of (2) stops half way, (3) and (4) have none (finished in `four_equations`); a paragraph on
  simplex noise, which belongs to another page.
"""

from manual_bp.textbook.errata import (
    classical,
    four_equations,
    index_and_vector_forms,
    matrix_form,
    paths,
    two_passes,
)
from manual_bp.textbook.errata.mistake import Mistake, WrongFunction

MISTAKES: dict[str, Mistake] = (
    matrix_form.MISTAKES
    | two_passes.MISTAKES
    | index_and_vector_forms.MISTAKES
    | paths.MISTAKES
    | four_equations.MISTAKES
    | classical.MISTAKES
)
FUNCTIONS: dict[str, WrongFunction] = paths.FUNCTIONS | four_equations.FUNCTIONS

__all__ = ["FUNCTIONS", "MISTAKES", "Mistake", "WrongFunction"]
