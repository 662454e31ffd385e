"""Can you write the backward pass by hand?

The exercises of `manual_bp.textbook.exercises` on the command line: `N` prints one, `--start FILE` writes a
file to complete, `--hint` and `--solution` help, and `--answer FILE` has the verifier say whether the
backward in it is right, and if not, what it is instead. A wrong answer is told from few points; one that is
right there is looked at everywhere: large and small values, other batch sizes, other cotangents.
"""
