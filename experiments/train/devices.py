"""The devices of a run: where its arrays lie, and what of a step each device computes.

`One` leaves everything where JAX puts it. `Many` has a mesh of all devices of all processes, on which a
program is one for all of them: a step runs in `jax.shard_map` as its split says, and what is around it, the
optimiser above all, is left to JAX, which is told how params and state lie.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.train import engines, epoch
from experiments.train.recipe import Recipe
from experiments.train.splits import AXIS

Tree = TypeVar("Tree")


class One:
    """One device."""

    parts = 1
    """In how many parts the params and the optimiser's state are."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def share(self, examples: int, microbatches: int) -> int:
        """How many examples of so many make a batch: those that the parts divide among them."""
        return examples // microbatches * microbatches

    def put(self, tree: Tree) -> Tree:
        """A tree of arrays where every program finds them."""
        return tree

    def put_batch(self, batch: Tree) -> Tree:
        """A batch, its examples laid out as a step has them."""
        return batch

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A program whose results can be read here."""
        return jax.jit(function)

    def layout(self, state: epoch.State) -> Any:
        """How a state of these shapes lies, as `jax.jit` takes it."""
        return None

    def layout_of_round(self, state: epoch.State) -> Any:
        """How the state and the losses of a round lie."""
        return None

    def engine(self, name: str) -> engines.Engine:
        """The engine of that name, as it trains."""
        return engines.ENGINES[name](self._recipe)

    def read(self, leaf: Any) -> np.ndarray:
        """An array, all of it, in this process."""
        return np.asarray(leaf)


class Many:
    """All devices of all processes, over which the recipe is split."""

    def __init__(self, recipe: Recipe, split: str) -> None:
        self._recipe = recipe
        self._mesh = Mesh(np.array(jax.devices()), (AXIS,), axis_types=(AxisType.Auto,))
        shapes = jax.eval_shape(recipe.init, jax.eval_shape(jax.random.key, 0))
        self._split = recipe.splits[split](recipe, shapes, self._mesh.size)
        self._params = jax.tree.broadcast(self._split.params, shapes, is_leaf=_is_spec)
        self.parts = 1 if self._split.params == P() else self._mesh.size
        self._gathered = self.jit(lambda x: x)

    def share(self, examples: int, microbatches: int) -> int:
        """How many examples of so many make a batch: those that devices and parts divide among them."""
        equal = microbatches * (1 if self._split.batch == P() else self._mesh.size)
        return examples // equal * equal

    def put(self, tree: Tree) -> Tree:
        """A tree of arrays, all of it on each device; every process has the same."""
        return jax.tree.map(lambda leaf: self._put(leaf, P()), tree)

    def put_batch(self, batch: Tree) -> Tree:
        """A batch, its examples laid out as a step has them."""
        return jax.tree.map(lambda leaf: self._put(leaf, self._of_batch(leaf)), batch)

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A program whose results are on each device."""
        return jax.jit(function, out_shardings=NamedSharding(self._mesh, P()))

    def layout(self, state: epoch.State) -> Any:
        """How a state of these shapes lies: what is shaped as the params, as they do."""
        like = jax.tree.structure(state.params)

        def are_params(tree: Any) -> bool:
            return jax.tree.structure(tree) == like

        def specs(tree: Any) -> Any:
            return self._params if are_params(tree) else P()

        laid = state._replace(
            params=self._params,
            opt_state=jax.tree.map(specs, state.opt_state, is_leaf=are_params),
            model=jax.tree.map(lambda _: self._split.state, state.model),
            scale=jax.tree.map(lambda _: P(), state.scale),
        )
        return jax.tree.map(lambda spec: NamedSharding(self._mesh, spec), laid, is_leaf=_is_spec)

    def layout_of_round(self, state: epoch.State) -> Any:
        """How the state and the losses of a round lie."""
        return self.layout(state), NamedSharding(self._mesh, P())

    def engine(self, name: str) -> engines.Engine:
        """The engine of that name, which computes the loss of all examples and its gradient."""
        if name == "autodiff" and self._split.reference is None:
            return engines.ENGINES[name](self._recipe)
        pair, reference = self._split.pair, self._split.reference
        local = engines.ENGINES[name](dataclasses.replace(self._recipe, pair=pair, reference=reference))

        def value_and_grad(params: Any, state: Any, batch: Any, **scaling: Any) -> Any:
            def on_a_device(params: Any, state: Any, batch: Any, scaling: dict[str, Any]) -> Any:
                return local.value_and_grad(params, state, self._with_own_noise(batch), **scaling)

            of_state = self._split.state
            return jax.shard_map(
                on_a_device,
                mesh=self._mesh,
                in_specs=(self._params, of_state, jax.tree.map(self._of_batch, batch), P()),
                out_specs=((P(), of_state), self._params),
            )(params, state, batch, scaling)

        return local._replace(value_and_grad=value_and_grad)

    def read(self, leaf: Any) -> np.ndarray:
        """An array, all of it, in this process; one in parts is gathered, for which all must ask."""
        return np.asarray(leaf if leaf.is_fully_replicated else self._gathered(leaf))

    def _put(self, leaf: Any, spec: P) -> Any:
        if _is_key(leaf):
            data = self._put(jax.random.key_data(leaf), spec)
            return self.jit(jax.random.wrap_key_data)(data)
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(
            whole.shape, NamedSharding(self._mesh, spec), lambda index: whole[index]
        )

    def _of_batch(self, leaf: Any) -> P:
        return P() if _is_key(leaf) else self._split.batch

    def _with_own_noise(self, batch: Any) -> Any:
        """The batch with other keys on each device, where each has other examples."""
        if self._split.batch == P():
            return batch
        number = lax.axis_index(AXIS)
        return jax.tree.map(lambda x: jax.random.fold_in(x, number) if _is_key(x) else x, batch)


def of(recipe: Recipe, split: str | None) -> One | Many:
    """The devices of a run, one where nothing is split."""
    return One(recipe) if split is None else Many(recipe, split)


def _is_spec(x: Any) -> bool:
    return isinstance(x, P)


def _is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
