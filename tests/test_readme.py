"""The README: its snippets run, its links lead somewhere, its commands are those of CI and of users."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.M | re.S)
LINKS = re.findall(r"\]\(([^)#:]+)\)", README)


@pytest.fixture
def _as_users_run_it():
    """JAX as it is set without us: float32, and its own rules of promotion."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.usefixtures("_as_users_run_it")
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_by_itself(number):
    exec(compile(SNIPPETS[number], f"snippet {number}", "exec"), {"__name__": "snippet"})


def test_there_are_snippets_and_two_commands_of_one_line():
    commands = re.findall(r"^```bash\n(.*?)^```$", README, flags=re.M | re.S)
    assert len(SNIPPETS) >= 5
    assert len(commands) == 2
    assert all(command.count("\n") == 1 for command in commands)


@pytest.mark.parametrize("path", LINKS)
def test_link_leads_somewhere(path):
    assert (ROOT / path).exists()
