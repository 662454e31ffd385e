"""What a check compiles: ahead, in other threads, once each, and with fewer optimisations where it may."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref.verify.comparison import sides
from jax_ref.verify.comparison.nearby_runs import NearbyRuns
from jax_ref.verify.options import Options
from jax_ref.verify.points.point import BATCH, EXAMPLE, Point
from jax_ref.verify.program import compiled
from jax_ref.verify.runner import run_checks
from jax_ref.verify.subject import of_pair

X = np.linspace(-1, 1, 6).reshape(2, 3)


@pytest.fixture
def compilations():
    """The names of the events of compiling, as they come, in all threads."""
    seen: list[str] = []

    def listener(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listener)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listener)


def test_what_is_compiled_ahead_is_not_compiled_again(compilations):
    program = compiled.Program(lambda x: jnp.sin(x) * 3)
    with ThreadPoolExecutor(1) as workers:
        program.ahead(workers, X)
        assert not program.is_new(X)
    assert len(compilations) == 1
    np.testing.assert_allclose(program(X), np.sin(X) * 3)
    assert len(compilations) == 1
    program(X[:1])
    assert len(compilations) == 2


def test_each_precision_is_compiled_ahead_for_itself():
    program = compiled.Program(lambda x: x / 3)
    with ThreadPoolExecutor(1) as workers, jax.enable_x64(False):
        program.ahead(workers, X)
        assert program(X).dtype == jnp.float32
    assert program.is_new(X)
    assert program(X).dtype == jnp.float64


def test_an_error_is_raised_where_the_program_is_called():
    def refuses(x):
        raise ValueError(f"no {x.shape}")

    program = compiled.Program(refuses)
    with ThreadPoolExecutor(1) as workers:
        program.ahead(workers, X)
    with pytest.raises(ValueError, match=r"no \(2, 3\)"):
        program(X)


def test_what_is_no_longer_asked_for_is_compiled_where_it_is_called():
    program, workers = compiled.Program(lambda x: x + 1), ThreadPoolExecutor(1)
    workers.shutdown()
    program.ahead(workers, X)
    np.testing.assert_array_equal(program(X), X + 1)


def test_at_small_sizes_nothing_is_optimized():
    seldom = compiled.Seldom(jnp.sin)
    assert seldom.at((X,)) is seldom.plain
    assert seldom.at((np.zeros(compiled.SMALL + 1),)) is seldom.less


def square(x):
    return x * x, x


def by_two(x, dy):
    return (2 * x * dy,)


def at(name, dtype):
    return Point(name, (X.astype(dtype),), np.ones_like(X, dtype))


@pytest.mark.parametrize(("name", "dtype", "soon"), [
    (EXAMPLE, "float64", True),
    (EXAMPLE, "float32", False),
    (f"{BATCH}2", "float32", True),
    (f"{BATCH}2", "bfloat16", False),
])  # fmt: skip
def test_the_rounding_of_the_users_own_program_counts(name, dtype, soon):
    """At the example's values; of another batch it does in few digits, where it is most of what is seen."""
    both = sides.of(of_pair(square, by_two, None), (X,))
    program = both._by_hand_at(at(name, jnp.dtype(dtype)))
    assert (program is both.by_hand.soon.plain) is soon
    assert (program is both.by_hand.optimized) is not soon


def test_the_runs_around_a_point_are_made_once(monkeypatch):
    both, calls = sides.of(of_pair(square, by_two, None), (X,)), []
    monkeypatch.setattr(
        sides.Sides, "in_float64", lambda self, p: calls.append(p) or self.own(p._replace(name="run"))
    )
    runs = NearbyRuns(both, at(EXAMPLE, np.float32), np.random.default_rng(0))
    first, count = runs.oracle_moved, len(calls)
    assert count == 6
    assert runs.oracle_moved is first
    assert len(runs.by_autodiff) == 4
    assert len(calls) == count + 4
    in_float64 = NearbyRuns(both, at(EXAMPLE, np.float64), np.random.default_rng(0))
    ((own, exact),) = in_float64.by_autodiff
    assert own is exact


@pytest.mark.parametrize("wrong", [False, True])
def test_nothing_compiles_after_a_check(wrong):
    def raises(x, dy):
        raise RuntimeError("not for this")

    session = run_checks(of_pair(square, raises if wrong else by_two, None), [(X,)], Options(level="quick"))
    assert bool(session.findings) is wrong
    with pytest.raises(RuntimeError):
        session.workers.submit(print)
