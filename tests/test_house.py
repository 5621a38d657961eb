"""The rules of the house that no other tool checks.

Sorting of ``__all__``, docstrings of shipped code and the like are ruff's; the floors are
import-linter's; this file holds what is left.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from healthstore.abc.registry import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SHIPPED_TESTS = sorted((ROOT / "src/healthstore/testing").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

FORBIDDEN_WORDS = {"abstract", "base", "helper", "helpers", "impl", "misc", "util", "utils"}
BACKENDS = {
    "mariadb",
    "memory",
    "mongodb",
    "mysql",
    "postgres",
    "postgresql",
    "sqlite",
}
DRIVERS = {
    "aiomysql",
    "asyncpg",
    "bson",
    "pymongo",
    "pymysql",
    "sqlalchemy",
    "sqlite3",
}
# A marker that silences a tool, its codes if any, and the reason that must follow.
IGNORE = re.compile(
    r"#\s*(?:noqa|type:\s*ignore|pyright:\s*ignore|pragma:\s*no cover|ruff:\s*noqa)"
    r"(?::\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*|\[[^\]]*\])?"
    r"(?P<reason>.*)"
)


def named(path: Path) -> str:
    """Return a path as it is named in this repository."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """Return the parsed module."""
    return ast.parse(path.read_text("utf-8"), filename=named(path))


def is_public(path: Path) -> bool:
    """Tell whether a module is public: no part of its name begins with an underscore."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return not any(part.startswith("_") for part in parts if part != "__init__")


def exported(module: ast.Module) -> object:
    """Return the value of ``__all__``, or None where there is none."""
    for node in module.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named_all = any(isinstance(item, ast.Name) and item.id == "__all__" for item in targets)
            if named_all and node.value is not None:
                return ast.literal_eval(node.value)
    return None


def definitions(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield each name that a module binds at its top level, with the statement that binds it."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield (alias.asname or alias.name.partition(".")[0]), node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id, node
        elif isinstance(node, ast.If | ast.Try):
            yield from definitions(node.body)
            yield from definitions(node.orelse)


@pytest.mark.parametrize("path", [path for path in SOURCES if is_public(path)], ids=named)
def test_public_modules_say_what_is_public(path: Path) -> None:
    """``__all__`` is a tuple that names every public class and function, and nothing absent."""
    module = tree(path)
    names = exported(module)
    bound = dict(definitions(module.body))
    own = {
        name
        for name, node in bound.items()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not name.startswith(("_", "pytest_"))  # hooks are found by pytest, not imported
    }
    if names is None and not own and path.name == "__init__.py":
        return  # a package that only holds modules
    assert isinstance(names, tuple)
    assert len(set(names)) == len(names)
    assert own <= set(names), "a public name is missing in __all__"
    # A package may offer names lazily, by a module-level __getattr__.
    if "__getattr__" not in bound:
        assert set(names) <= set(bound), "__all__ names what is not there"


def test_names_are_nouns_of_the_domain() -> None:
    """No module or class is called base, abstract, helper, utils, impl or misc."""
    wrong = [
        named(path) for path in SOURCES if FORBIDDEN_WORDS & set(path.stem.strip("_").split("_"))
    ]
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                words = {
                    word.lower()
                    for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", node.name)
                }
                if FORBIDDEN_WORDS & words:
                    wrong.append(f"{named(path)}:{node.lineno} {node.name}")
    assert not wrong


def names_a_backend(node: ast.AST) -> bool:
    """Tell whether an expression is the name of a backend, or a collection with one."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(names_a_backend(item) for item in node.elts)
    return isinstance(node, ast.Constant) and node.value in BACKENDS


def asks_for_a_backend(node: ast.AST) -> bool:
    """Tell whether code branches on which backend it is on."""
    if isinstance(node, ast.Compare):
        return any(names_a_backend(item) for item in (node.left, *node.comparators))
    if isinstance(node, ast.MatchValue):
        return names_a_backend(node.value)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
    ):
        return re.search(r"(Backend|Adapter)\b", ast.unparse(node.args[1])) is not None
    return False


def test_no_code_asks_which_backend_it_is_on() -> None:
    """A difference between backends is a capability, a dialect field or an error table."""
    wrong = [
        f"{named(path)}:{node.lineno} {ast.unparse(node)}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.expr | ast.pattern) and asks_for_a_backend(node)
    ]
    assert not wrong


def test_every_test_states_behaviour() -> None:
    """Every test function has a docstring, in this tree and in the shipped suite."""
    wrong = [
        f"{named(path)}:{node.lineno} {node.name}"
        for path in (*TESTS, *SHIPPED_TESTS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not wrong


def test_every_ignore_has_its_reason() -> None:
    """A comment that silences a tool says why, on the same line."""
    wrong: list[str] = []
    for path in (*SOURCES, *TESTS):
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                found = IGNORE.match(token.string) if token.type == tokenize.COMMENT else None
                if found and len(found["reason"].strip(" #-:")) < len("why"):
                    wrong.append(f"{named(path)}:{token.start[0]} {token.string}")
    assert not wrong


def test_what_an_error_is_raised_from_carries_no_values() -> None:
    """A cause is an error of ours, or a module that is not installed; others quote values."""
    wrong = [
        f"{named(path)}:{node.lineno} {ast.unparse(node)}"
        for path in SOURCES
        for handler in ast.walk(tree(path))
        if isinstance(handler, ast.ExceptHandler)
        and ast.unparse(handler.type or ast.Constant(None))
        not in {"HealthstoreError", "ModuleNotFoundError"}
        for node in ast.walk(handler)
        if isinstance(node, ast.Raise)
        and node.cause is not None
        and ast.unparse(node.cause) not in {"None", "error.__cause__"}
    ]
    assert not wrong


def test_every_skip_has_its_reason() -> None:
    """``skip``, ``skipif`` and ``xfail`` are calls that give a reason."""
    wrong: list[str] = []
    for path in (*TESTS, *SHIPPED_TESTS):
        module = tree(path)
        calls = {id(node.func): node for node in ast.walk(module) if isinstance(node, ast.Call)}
        for node in ast.walk(module):
            if not isinstance(node, ast.Attribute) or node.attr not in {"skip", "skipif", "xfail"}:
                continue
            call = calls.get(id(node))
            if not ast.unparse(node).startswith("pytest."):
                continue
            given = call and (
                any(keyword.arg == "reason" for keyword in call.keywords)
                or (node.attr != "skipif" and call.args)
            )
            if not given:
                wrong.append(f"{named(path)}:{node.lineno} {ast.unparse(node)}")
    assert not wrong


@pytest.mark.parametrize("module", ["healthstore", "healthstore.cli", "healthstore.testing.plugin"])
def test_an_import_loads_no_driver(module: str) -> None:
    """A fresh process that imports the library has loaded no driver and no SQLAlchemy."""
    script = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not DRIVERS & set(done.stdout.split())


def test_every_entry_point_leads_somewhere() -> None:
    """The pytest plugin and the console script can be loaded."""
    declared = PROJECT["entry-points"]
    for group, points in {**declared, "console_scripts": PROJECT["scripts"]}.items():
        installed = {point.name: point for point in entry_points(group=group)}
        for name, target in points.items():
            assert installed[name].value == target, "install the package again"
            assert installed[name].load() is not None


def test_every_built_in_scheme_leads_somewhere() -> None:
    """Each URL scheme that the library promises names a function that exists."""
    assert set(BUILT_IN) == BACKENDS
    for built_in in BUILT_IN.values():
        module, _, attribute = built_in.target.partition(":")
        assert callable(getattr(import_module(module), attribute))


def test_all_means_all() -> None:
    """The extra ``all`` names every other extra."""
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(everything.partition("[")[2].rstrip("]").split(",")) == set(extras) - {"all"}
