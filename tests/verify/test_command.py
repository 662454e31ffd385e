"""`python -m jax_ref.verify`: what it takes, prints and ends with."""

import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jax_ref.verify.__main__ import main
from tests.verify.layer import B, W, X, bwd, fwd, reference, wrong


@pytest.fixture
def module(monkeypatch):
    sine = jax.custom_jvp(jnp.sin)
    sine.defjvp(lambda p, t: (jnp.sin(p[0]), t[0] * jnp.cos(p[0])))
    found = {
        "layer": (fwd, bwd),
        "negated": (fwd, wrong(lambda dx, dw, db, res, dy: (dx, -dw, db))),
        "reference": reference,
        "args": (X, W, B),
        "make": lambda: (X, W, B),
        "x": X,
        "sine": sine,
        "plain": jnp.sin,
        "nested": types.SimpleNamespace(layer=(fwd, bwd)),
    }
    monkeypatch.setitem(sys.modules, "users", types.SimpleNamespace(**found))


ENDS = {
    "users:layer --example users:args": (0, "right, as far as was looked"),
    "users:nested.layer --example users:make --time-limit 60": (0, "tried: "),
    "users:negated --example users:args --reference users:reference": (
        1, "[sign] w: it has the wrong sign",
    ),
    "manual_bp.ops.activations:tanh --example users:x": (0, "right"),
    "manual_bp.ops.dense --example users:x": (2, ""),
    "users:sine --example users:x --reference users:plain --jvp --seed 3": (0, "right"),
    "users:nothing --example users:args": (2, "names nothing: users has no nothing"),
    "no_module:name --example users:args": (2, "names no module that can be imported"),
    "users:layer --example users:args --rtol -1": (2, "rtol was -1"),
}  # fmt: skip


@pytest.mark.parametrize("line", ENDS)
def test_what_a_command_prints_and_ends_with(line, module, capsys):
    code, text = ENDS[line]
    assert main([*line.split(), "--level", "quick"]) == code
    printed = capsys.readouterr()
    assert text in (printed.err if code == 2 else printed.out)
    assert "Traceback" not in printed.out + printed.err


def test_a_module_of_the_folder_it_is_called_in(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import jax.numpy as jnp\n"
        "cube = (lambda x: (x**3, x)), (lambda x, d: (1.2 * x * x * d,))\n"
        "x = jnp.array([0.5, -1.5, 2.0])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "jax_ref.verify", "mine:cube", "--example", "mine:x", "--level", "quick"],
        cwd=tmp_path, env={"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "0.4 times the right one" in done.stdout
    assert "float32" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("tried: 3 points, 11 cotangents, ")
