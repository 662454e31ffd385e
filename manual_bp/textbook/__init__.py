"""Five lecture notes on backpropagation, each as code in its own letters, and their mistakes.

`matrix_form`, `two_passes`, `index_and_vector_forms`, `paths` and `four_equations` each have a function
`gradient` that returns the whole gradient of a network by its own way; all five are one gradient. They
share column vectors, `W (n_out, n_in)` and `z = W a + b`; `columns` leads to `manual_bp.models.mlp` and
back. `errata` holds what is wrong in the notes, and the classical mistakes, to be caught.
"""
