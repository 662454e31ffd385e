"""The models as plain forward code: `apply`, and `loss` for `jax.value_and_grad`."""

from jax_ref.models import mlp

__all__ = ["mlp"]
