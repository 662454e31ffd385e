"""The strictest JAX there is: float64, no implicit promotion of dtypes or ranks, typed shapes."""

import hypothesis
import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook(
    ["manual_bp.ops", "manual_bp.models", "jax_ref.ops", "jax_ref.models"], "beartype.beartype"
)

hypothesis.settings.register_profile("default", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("default")
