"""The verifier from a command line: `python -m jax_ref.verify module:name --example module:args`.

`name` is an op, with fwd and bwd, or a function with a gradient of its own, or a tuple of the two halves of
a `jax.custom_vjp`; the module itself is an op where there is no name. It prints the report, and ends with 0
where nothing is wrong, with 1 where something is, with 2 for bad use.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import jax

from jax_ref import verify
from jax_ref.verify.findings import Report
from jax_ref.verify.options import LEVELS


def main(arguments: Sequence[str] | None = None) -> int:
    """What the process ends with."""
    given = _parser().parse_args(arguments)
    try:
        if given.x64:
            jax.config.update("jax_enable_x64", True)
        report = _report(given)
    except (TypeError, ValueError) as error:
        print(f"python -m jax_ref.verify: {error}", file=sys.stderr)
        return 2
    print(report)
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m jax_ref.verify", description="Check a hand-written gradient.")
    where = "as module:name, of a module that can be imported from here"
    parser.add_argument("what", help=f"an op, a function with a custom_vjp, or a tuple (fwd, bwd), {where}")
    parser.add_argument(
        "--example", required=True, help="a tuple of arguments, or a function that returns it"
    )
    parser.add_argument("--reference", help="a plain function of the same arguments")
    parser.add_argument("--level", default="default", choices=list(LEVELS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rtol", type=float, default=0.0, help="how far apart both sides may be")
    parser.add_argument("--time-limit", type=float, help="seconds after which it reports what was done")
    parser.add_argument("--order", type=int, default=1, choices=[1, 2], help="2: the second derivative too")
    parser.add_argument("--jvp", action="store_true", help="it is a function with a custom_jvp")
    parser.add_argument("--x64", action="store_true", help="examples keep float64")
    return parser


def _report(given: argparse.Namespace) -> Report:
    example = _named(given.example)
    what = _named(given.what)
    args = example() if callable(example) else example
    args = args if isinstance(args, tuple) else (args,)
    options: dict[str, Any] = {
        "level": given.level,
        "seed": given.seed,
        "rtol": given.rtol,
        "order": given.order,
        "reference": _named(given.reference) if given.reference else None,
    }
    options |= {"time_limit": given.time_limit} if given.time_limit is not None else {}
    if given.jvp:
        return verify.check_jvp(what, *args, **options)
    if hasattr(what, "fwd") and hasattr(what, "bwd") and not isinstance(what, jax.custom_vjp):
        return verify.check_op(what, *args, **options)
    if isinstance(what, tuple) and len(what) == 2:
        return verify.check(*what, *args, **options)
    function: Any = what
    return verify.check_function(function, *args, **options)


def _named(text: str) -> Any:
    """What `module:name` stands for; a module where there is no name."""
    module, _, name = text.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{text!r} names no module that can be imported: {error}") from None
    for part in name.split(".") if name else ():
        if not hasattr(found, part):
            raise ValueError(f"{text!r} names nothing: {module} has no {name}")
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    sys.exit(main())
