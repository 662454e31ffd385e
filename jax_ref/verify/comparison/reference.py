"""The reference function with the names of its arguments and the resolution of its values."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import PyTree

from jax_ref.verify.comparison.resolution import Resolution
from jax_ref.verify.oracle import value_and_vjp
from jax_ref.verify.trees import labelled, with_leaf


class Reference(NamedTuple):
    """A plain function, and what is needed to speak of its arguments and to judge its digits."""

    function: Callable[..., PyTree]
    names: tuple[str, ...]
    resolution: Resolution

    def leaves(self, args: tuple[PyTree, ...]) -> dict[str, Any]:
        """The leaves of the arguments by their paths."""
        return labelled(args, self.names)

    def of_leaf(self, args: tuple[PyTree, ...], path: str, x: Any) -> PyTree:
        """The output for the arguments with `x` as the leaf at `path`."""
        return self.function(*with_leaf(args, self.names, path, x))

    def differentiated(self, args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """The output, and by `jax.vjp` the cotangent of each floating leaf by its path."""
        output, cotangents = value_and_vjp(self.function, args, d_output)
        return output, self.leaves(cotangents)
