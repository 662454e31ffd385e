"""What does one step of backpropagation do, number by number, in the letters of each of the five notes?

A network of two inputs, two hidden neurons and two outputs goes forward, backward, through one update, and
forward again. Every z, a, delta, gradient and new weight is a line: the formula, the formula with the numbers
put in, and the result. A calculator gets from the second to the third, to the digits shown.

A note is a file in `notations` that writes the lines in its own way: index form, products along paths, whole
matrices. What it writes on, `sheet` and `expression`, knows no network: a convolution, a batch norm, a step
of an LSTM and a head of attention are files in `layers` that write their lines, beside numbers by `jax.grad`.
"""
