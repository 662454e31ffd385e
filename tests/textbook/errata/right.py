"""Expected gradient of a mistake: the right one, and by how much the mistake says it is off."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.textbook import index_and_vector_forms
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata import MISTAKES
from tests.textbook.networks import batch, error, network, oracle

BOUND = 1e-12
WIDTHS = (4, 6, 3, 3)  # the last layer is square, as some mistakes need
LAYERS = network(WIDTHS)
DEPTH = len(LAYERS)
X, SOFT = batch(WIDTHS, 5)
ONE_HOT = jnp.eye(3)[jnp.array([0, 2, 1, 1, 0])].T
B = 5


def slope(z):
    """s'(z), of each entry alone."""
    return jax.vmap(jax.grad(jax.nn.sigmoid))(z.ravel()).reshape(z.shape)


@functools.cache
def _right(output, cost, weighted):
    """The right deltas and gradient, for one-hot targets or others; the same for many mistakes."""
    Y = MISTAKES[weighted].targets(ONE_HOT) if weighted else ONE_HOT
    names = {"output": output, "cost": cost}
    single = jax.jit(jax.vmap(lambda x, y: oracle(LAYERS, x, y, **names), in_axes=1))(X, Y)
    return [layer.b.T for layer in single], jax.jit(lambda layers: oracle(layers, X, Y, **names))(LAYERS)


class Right:
    """The right states, deltas (n, B) and gradient for one mistake's network and targets."""

    def __init__(self, name):
        self.mistake = MISTAKES[name]
        self.names = {"output": self.mistake.output, "cost": self.mistake.cost}
        self.Y = self.mistake.targets(ONE_HOT)
        self.z, self.a = index_and_vector_forms.forward(LAYERS, X, output=self.mistake.output)
        weighted = name if bool((self.Y != ONE_HOT).any()) else None
        self.D, self.gradient = _right(self.mistake.output, self.mistake.cost, weighted)

    def last(self, **parts) -> Network:
        return (*self.gradient[:-1], self.gradient[-1]._replace(**parts))

    def through(self, D, below=None, states=None) -> Network:
        """The gradient by an output delta D and a rule for the delta of the layers below."""
        z, a = states or (self.z, self.a)
        grads = []
        for k in reversed(range(DEPTH)):
            grads.append(Layer(D @ a[k].T / B, D.sum(1) / B))
            if k:
                D = below(k, D, grads[-1]) if below else (LAYERS[k].W.T @ D) * slope(z[k - 1])
        return tuple(reversed(grads))


Off = dict[str, Callable[[Right], Network]]
"""The gradient that each mistake must give, from the right one and by how much it says it is off."""


def distance(actual: Network, wanted: Network) -> float:
    """Normwise, relative to the wanted leaf or, where that is zero, as it is."""
    distances = []
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        assert a.shape == w.shape
        a, w = np.asarray(a), np.asarray(w)
        size = float(np.linalg.norm(w.ravel()))
        distances.append(float(np.linalg.norm((a - w).ravel())) / (size or 1))
    return max(distances)


def off_by_what_it_says(name: str, off: Off) -> None:
    """Assert it of one mistake, that its right form is right, and that the two can be told apart."""
    right = Right(name)
    mistake = right.mistake
    assert error(jax.jit(mistake.correct)(LAYERS, X, right.Y), right.gradient) <= BOUND
    wrong = jax.jit(mistake.gradient)(LAYERS, X, right.Y)
    assert distance(wrong, off[name](right)) <= BOUND
    differs = [
        w.shape != g.shape or distance((w,), (g,)) > 1e-3
        for w, g in zip(jax.tree.leaves(wrong), jax.tree.leaves(right.gradient), strict=True)
    ]
    assert any(differs)
    assert all((mistake.source, mistake.printed, mistake.right, mistake.off))
