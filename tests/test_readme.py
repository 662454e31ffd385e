"""The README: its snippets run, its links lead somewhere, its commands are those of CI and of users."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.M | re.S)
LINKS = re.findall(r"\]\(([^)#:]+)\)", README)


def test_every_snippet_runs():
    """Each by itself, but in one process: to start one takes longer than most of them."""
    program = "\n".join(
        f"exec(compile({text!r}, 'snippet {i}', 'exec'), {{}})" for i, text in enumerate(SNIPPETS)
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_there_are_snippets_and_two_commands_of_one_line():
    commands = re.findall(r"^```bash\n(.*?)^```$", README, flags=re.M | re.S)
    assert len(SNIPPETS) >= 5
    assert len(commands) == 2
    assert all(command.count("\n") == 1 for command in commands)


@pytest.mark.parametrize("path", LINKS)
def test_link_leads_somewhere(path):
    assert (ROOT / path).exists()
