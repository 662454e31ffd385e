"""Fifteen exercises in writing a backward pass, from one delta to attention.

An exercise is a module: its docstring is the statement, `fwd` is given, and `bwd` is a solution, which a
reader looks at last. Examples are rows here, as in `manual_bp.ops`. To check an answer from Python, with
the verifier or with any other check of such pairs, take `EXERCISES[n].answered_by(bwd)`:

    verify.check_op(EXERCISES[2].answered_by(bwd), *EXERCISES[2].example())

`fwd` is given and not on trial, so that its own values, differentiated in float64, are what an answer is
held against; that it computes what the statement says is proved in the tests, against another forward.
"""

from manual_bp.textbook.exercises import (
    attention,
    batch_norm,
    bias_gradient,
    convolution,
    cross_entropy,
    exercise,
    hidden_delta,
    layer_norm,
    lstm_step,
    output_delta,
    recurrence,
    skip_connection,
    softmax,
    tied_weights,
    two_layers,
    weight_gradient,
)
from manual_bp.textbook.exercises.exercise import Exercise

ORDER = (
    output_delta,
    bias_gradient,
    weight_gradient,
    hidden_delta,
    softmax,
    cross_entropy,
    two_layers,
    tied_weights,
    skip_connection,
    layer_norm,
    batch_norm,
    convolution,
    recurrence,
    lstm_step,
    attention,
)
"""Each uses what the ones before it have taught."""

EXERCISES: dict[int, Exercise] = {n: exercise.of(n, module) for n, module in enumerate(ORDER, start=1)}
"""The exercises by their numbers, from 1."""

__all__ = ["EXERCISES", "Exercise"]
