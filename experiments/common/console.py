"""Text on the console as it is: a path in it is neither wrapped nor taken for markup."""

from rich.console import Console


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a text, in lines as long as they are."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
