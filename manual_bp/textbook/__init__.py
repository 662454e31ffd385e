"""Five lecture notes on backpropagation, each as code in its own letters, their mistakes, and exercises.

    000  `matrix_form`               "Backpropagation - Matrix Form", Benji Peng
    001  `two_passes`                "Backpropagation"
    002  `index_and_vector_forms`    "Backpropagation"
    003  `paths`                     "Backpropogation"
    004  `four_equations`            "Understanding gradient descent and Backpropagation"

Titles are spelled as they are there, and only the first names its author; `notes` has all this as a table.
Each module has a function `gradient` that returns the whole gradient of a network by its own way; all five
are one gradient. They share column vectors, `W (n_out, n_in)` and `z = W a + b`; `columns` leads to
`manual_bp.models.mlp` and back. `attention` carries the letters of 002 on to one head of attention, which is
in no note. `errata` holds what is wrong in the notes, and the classical mistakes, to
be caught; `exercises` are backward passes to write.
"""
