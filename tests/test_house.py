"""House rules: three places per op, two packages that do not know each other, names that are fixed."""

import ast
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import jax_ref
import manual_bp
from tests.cases import CASES, FLAT, MODELS

AUTODIFF = {"grad", "value_and_grad", "vjp", "jvp", "linearize", "linear_transpose", "jacfwd",
            "jacrev", "jacobian", "hessian", "vjp3", "linear_call"}  # fmt: skip


def modules(package: ModuleType) -> dict[str, ModuleType]:
    """Every module under a package, by its dotted name."""
    walk = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return {package.__name__: package} | {m.name: importlib.import_module(m.name) for m in walk}


ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = {"manual_bp": [], "jax_ref": [], "experiments": ["experiments"], "tests": ["test"]}
"""Each package, and the extras that are installed where it is used."""

MODULES = modules(manual_bp) | modules(jax_ref)


def is_pair(value: object) -> bool:
    """Whether it is a member of a family: a pair, not a module."""
    return isinstance(value, tuple) and hasattr(value, "fwd") and hasattr(value, "bwd")


def names_in(package: ModuleType, reference: bool) -> set[str]:
    """The ops or models of a package; the members of a family as `family.member`."""
    found = set()
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        single = hasattr(module, "apply") if reference else hasattr(module, "fwd")
        if single:
            found.add(info.name)
            continue
        members = {
            name
            for name, value in vars(module).items()
            if is_pair(value)
            or (
                reference
                and inspect.isfunction(value)
                and value.__module__ == module.__name__
                and not name.startswith("_")
            )
        }
        assert members, f"{module.__name__} has neither an op nor members of a family"
        found |= {f"{info.name}.{member}" for member in members}
    return found


@pytest.mark.parametrize(("kind", "table"), [("ops", CASES), ("models", MODELS)])
def test_packages_and_table_list_the_same(kind, table):
    manual = names_in(getattr(manual_bp, kind), reference=False)
    reference = names_in(getattr(jax_ref, kind), reference=True)
    everything = manual | reference | set(table)
    missing = {
        name: places
        for name in sorted(everything)
        if (
            places := [
                where
                for where, there in [
                    (f"manual_bp/{kind}", manual),
                    (f"jax_ref/{kind}", reference),
                    ("tests/cases", set(table)),
                ]
                if name not in there
            ]
        )
    }
    assert not missing, f"these have no entry in the places named: {missing}"


@pytest.mark.parametrize("name", [*CASES, *MODELS])
def test_every_kind_has_an_odd_batch_and_a_batch_of_one(name):
    leads: dict[str, list[tuple[int, ...]]] = {}
    for example in (CASES | MODELS)[name].examples:
        leads.setdefault(example.kind, []).append(example.lead)
    assert leads
    for kind, found in leads.items():
        assert len(found) == len(set(found)), f"two kinds of {name} are called {kind}"
        assert set(FLAT) <= set(found), f"{name}, {kind}"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_the_fixed_names(name):
    found, wanted = MODELS[name].op, ("Params", "init", "fwd", "bwd", "value_and_grad")
    assert [part for part in wanted if not hasattr(found, part)] == []
    assert hasattr(getattr(jax_ref.models, name), "loss")


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("manual_bp")])
def test_no_autodiff_in_manual_bp(name):
    used = {
        node.attr if isinstance(node, ast.Attribute) else alias.name
        for node in ast.walk(tree(name))
        for alias in getattr(node, "names", [None])
        if (isinstance(node, ast.Attribute) and ast.unparse(node) != "model.value_and_grad")  # by hand
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jax"))
    }
    assert not used & AUTODIFF


@pytest.mark.parametrize("name", MODULES)
def test_packages_do_not_import_each_other(name):
    other = "jax_ref" if name.startswith("manual_bp") else "manual_bp"
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == other for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != other


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring(name):
    module = MODULES[name]
    assert module.__doc__, f"{name} has no docstring"
    for public, value in vars(module).items():
        if public.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if is_pair(value):
            assert value.fwd.__doc__, f"{name}.{public}.fwd"
            assert value.bwd.__doc__, f"{name}.{public}.bwd"
        elif inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), f"{name}.{public}"
            automatic = f"{public}({', '.join(getattr(value, '_fields', ()))})"
            assert value.__doc__ != automatic, f"{name}.{public} has only an automatic docstring"


def tree(name: str) -> ast.Module:
    """The syntax tree of a module's source."""
    return ast.parse(Path(inspect.getfile(MODULES[name])).read_text(encoding="utf-8"))


def declared(extras: list[str]) -> set[str]:
    """The distributions that the project asks for, with those of some extras."""
    found, optional = set(), PROJECT["optional-dependencies"]
    for requirement in [*PROJECT["dependencies"], *(r for extra in extras for r in optional[extra])]:
        ((name, of_itself),) = re.findall(r"^([\w.-]+)(?:\[(.*?)\])?", requirement)
        found |= declared(of_itself.split(",")) if name == PROJECT["name"] else {name}
    return found


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, but for Python's own and ours."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_declared(package):
    distributions = importlib.metadata.packages_distributions()
    wanted: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        own = ["strategies"] if path.name == "strategies.py" else []
        for name in imported(path):
            if not declared(PACKAGES[package] + own) & set(distributions.get(name, [name])):
                wanted.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert not wanted, f"imported, and not among the requirements in pyproject.toml: {wanted}"


def test_strategies_say_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "jax_ref.verify.strategies", raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=r"strategies needs Hypothesis: pip install .*\[strategies\]"
    ):
        importlib.import_module("jax_ref.verify.strategies")


def test_both_packages_have_the_one_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", manual_bp.__version__)
    assert jax_ref.__version__ == manual_bp.__version__
    assert PROJECT["dynamic"] == ["version"], "it is read from manual_bp/__init__.py"
