"""Command lines read by argparse, whose mistakes are told in one sentence."""

import argparse
from typing import NoReturn

from experiments.common.errors import UserError


class SentenceParser(argparse.ArgumentParser):
    """A parser that raises a `UserError` for a mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        raise UserError(f"{message}.")
