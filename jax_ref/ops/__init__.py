"""One file per op: `apply`, the plain forward; in a family one function per member."""

import importlib
import pkgutil
from types import ModuleType


def __dir__() -> list[str]:
    """The names of the files here."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def __getattr__(name: str) -> ModuleType:
    """The file of that name, imported when it is first asked for."""
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no {name!r}; it has {', '.join(__dir__())}")
    return importlib.import_module(f"{__name__}.{name}")
