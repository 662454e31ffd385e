"""Recipes of the models, a file each, under the names that `--model` takes."""

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """The names of the files here."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def module(name: str) -> ModuleType:
    """The file of that name: `Settings`, `load` and `recipe`."""
    return importlib.import_module(f"{__name__}.{name}")
