"""Does hand-written backpropagation train as `jax.grad` does? Two engines in lockstep, from one start."""
