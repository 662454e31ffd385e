"""The proof of the four equations, line by line: each line's two sides, the derivatives by autodiff.

The names of the tests are the numbers of the lines in `manual_bp.textbook.four_equations`.
"""

import jax
import jax.numpy as jnp
import pytest

from jax_ref import textbook
from manual_bp.textbook import four_equations
from tests.textbook.networks import BOUND, HEADS, LAYERS, WIDTHS, X, Y, error, x, y

L = len(LAYERS)
g = jax.nn.sigmoid


class Chain:
    """The network as a chain of functions of each other: z^[l] of a^[l-1], a^[l] of z^[l], c_x of a^[L]."""

    def __init__(self, head: str):
        self.names = HEADS[head]
        self.out = textbook.FUNCTIONS[self.names["output"]]
        self.a, self.z = [x], []
        for l, (w, b) in enumerate(LAYERS, start=1):
            self.z.append(w @ self.a[-1] + b)
            self.a.append(self.activation(l)(self.z[-1]))

    def activation(self, l):
        return self.out if l == L else g

    def cost_of_output(self, a):
        return jnp.sum((a - y) ** 2) / 2 if self.names["cost"] == "quadratic" else -jnp.vdot(y, jnp.log(a))

    def next_z(self, l, z):
        """z^[l+1] as a function of z^[l]."""
        w, b = LAYERS[l]
        return w @ self.activation(l)(z) + b

    def cost_of_z(self, l, z):
        """c_x as a function of z^[l]."""
        for k in range(l, L):
            z = self.next_z(k, z)
        return self.cost_of_output(self.out(z))

    def e(self, l):
        """e^[l], by its definition."""
        return jax.grad(lambda z: self.cost_of_z(l, z))(self.z[l - 1])

    def dz_next_dz(self, l):
        return jax.jacobian(lambda z: self.next_z(l, z))(self.z[l - 1])


@pytest.fixture(params=HEADS)
def chain(request):
    return Chain(request.param)


def derivative(z):
    """g'(z), of each entry alone."""
    return jax.vmap(jax.grad(g))(z)


class TestEquation1:
    def test_1a_and_1b(self, chain):
        dc_da = jax.grad(chain.cost_of_output)(chain.a[L])
        J = jax.jacobian(chain.out)(chain.z[L - 1])
        summed = jnp.stack([sum(dc_da[k] * J[k, j] for k in range(2)) for j in range(2)])
        assert error(summed, chain.e(L)) <= BOUND  # 1a
        assert error(J.T @ dc_da, summed) <= BOUND  # 1b
        found = four_equations.equation_1(dc_da, chain.z[L - 1], output=chain.names["output"])
        assert error(found, chain.e(L)) <= BOUND

    def test_1c_1d_and_1e(self):
        chain = Chain("quadratic")
        z, dc_da = chain.z[L - 1], jax.grad(chain.cost_of_output)(chain.a[L])
        assert error(jax.jacobian(g)(z), jnp.diag(derivative(z))) <= BOUND  # 1c
        assert error(dc_da * derivative(z), chain.e(L)) <= BOUND  # 1d
        assert error(chain.a[L] - y, dc_da) <= BOUND  # 1e

    def test_1c_does_not_hold_for_softmax(self):
        chain = Chain("cross_entropy")
        J = jax.jacobian(chain.out)(chain.z[L - 1])
        assert error(J, jnp.diag(jnp.diag(J))) > 0.5
        dc_da = jax.grad(chain.cost_of_output)(chain.a[L])
        assert error(dc_da * jnp.diag(J), chain.e(L)) > 0.1


@pytest.mark.parametrize("l", range(1, L))
class TestEquation2:
    def test_2a_and_2b(self, chain, l):
        dc_dz_next = jax.grad(lambda z: chain.cost_of_z(l + 1, z))(chain.z[l])
        dz_dz = chain.dz_next_dz(l)
        summed = jnp.stack(
            [sum(dc_dz_next[k] * dz_dz[k, j] for k in range(WIDTHS[l + 1])) for j in range(WIDTHS[l])]
        )
        assert error(summed, chain.e(l)) <= BOUND  # 2a
        assert error(dz_dz.T @ chain.e(l + 1), chain.e(l)) <= BOUND  # 2b

    def test_2c_and_2d(self, chain, l):
        w, b = LAYERS[l]
        summed = jnp.stack(
            [
                sum(w[k, i] * g(chain.z[l - 1][i]) for i in range(WIDTHS[l])) + b[k]
                for k in range(WIDTHS[l + 1])
            ]
        )
        assert error(summed, chain.z[l]) <= BOUND  # 2c
        assert error(w * derivative(chain.z[l - 1])[None, :], chain.dz_next_dz(l)) <= BOUND  # 2d

    def test_2e(self, chain, l):
        w, _ = LAYERS[l]
        slope = derivative(chain.z[l - 1])
        inside = jnp.einsum("kj,k,j->j", w, chain.e(l + 1), slope)
        assert error((w.T @ chain.e(l + 1)) * slope, inside) <= BOUND  # 2e: g' comes out of the sum
        assert error(inside, chain.e(l)) <= BOUND
        assert error(four_equations.equation_2(w, chain.e(l + 1), chain.z[l - 1]), chain.e(l)) <= BOUND


@pytest.mark.parametrize("l", range(1, L + 1))
class TestEquations3And4:
    def test_3a_to_3c(self, chain, l):
        w, b = LAYERS[l - 1]
        before = chain.a[l - 1]
        dc_db = jax.grad(lambda b: chain.cost_of_z(l, w @ before + b))(b)
        dz_db = jax.jacobian(lambda b: w @ before + b)(b)
        assert error(dz_db.T @ chain.e(l), dc_db) <= BOUND  # 3a
        assert error(dz_db, jnp.eye(WIDTHS[l])) == 0  # 3b
        assert error(four_equations.equation_3(chain.e(l)), dc_db) <= BOUND  # 3c

    def test_4a_to_4c(self, chain, l):
        w, b = LAYERS[l - 1]
        before = chain.a[l - 1]
        dc_dw = jax.grad(lambda w: chain.cost_of_z(l, w @ before + b))(w)
        dz_dw = jax.jacobian(lambda w: w @ before + b)(w)
        assert error(jnp.einsum("i,ijk->jk", chain.e(l), dz_dw), dc_dw) <= BOUND  # 4a
        only_own = jnp.eye(WIDTHS[l])[:, :, None] * before[None, None, :]
        assert error(dz_dw, only_own) <= BOUND  # 4b
        assert error(four_equations.equation_4(before, chain.e(l)), dc_dw) <= BOUND  # 4c


def test_5(chain):
    """The derivative of the mean is the mean of the derivatives."""
    of_mean = jax.grad(lambda layers: textbook.mean_cost(layers, X, Y, **chain.names))(LAYERS)
    single = [
        jax.grad(lambda layers, k=k: textbook.example_cost(layers, X[:, k], Y[:, k], **chain.names))(LAYERS)
        for k in range(6)
    ]
    mean = jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / 6, *single)
    assert error(mean, of_mean) <= BOUND
