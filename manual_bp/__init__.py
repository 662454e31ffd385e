"""Backward passes written by hand, as pure JAX functions over parameter pytrees.

`ops` holds one file per op, `models` the composites, and `parallel` what they do on many devices. Everything
that has a gradient is a pair

    fwd([params,] *inputs, **static)                 -> (output, residuals)
    bwd([params,] residuals, d_output, **static)     -> one cotangent per differentiable argument

and `differentiable(op)` turns a pair into an ordinary JAX function that carries its own gradient.
"""

from manual_bp import models, ops, parallel
from manual_bp.bridge import differentiable

__all__ = ["differentiable", "models", "ops", "parallel"]

__version__ = "0.1.0"
