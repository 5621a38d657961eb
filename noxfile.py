"""Every check of this project, each runnable by name: `nox -s tests`, `nox -l` lists them.

Sessions run on the Python that runs nox; `nox -P 3.14 -s tests` picks another.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

# ---------------------------------------------------------------- the lists
PYPROJECT = nox.project.load_toml("pyproject.toml")

FAULT_TESTS = ["tests/faults", "tests/servers", "tests/transfer"]
SERVERS = ["postgresql", "mysql", "mariadb", "mongodb"]  # as the tests that use them are called
NO_FAULTS = [f"--ignore={each}" for each in FAULT_TESTS]
COMPANY = "tests/contract/test_coalesce.py"  # the contract again: minutes for each backend
TYPED = ["src", "tests/typing", "tests/servers", "benchmarks", "noxfile.py"]
NEEDS_DATA = {"real_health_data.py"}  # examples that read the data set of HEALTHSTORE_DATA
TAKES_DATA = {*NEEDS_DATA, "schema_evolution.py"}  # others make up rows where there is none
TAKES_CHAIN = {"clinic.py", "rolling_deployment.py"}  # behind `--`: the stores that it goes through

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"  # pip: it obeys the pip settings of the machine
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "floors", "tests", "docs", "examples"]


# ---------------------------------------------------------------- tests
@nox.session
def tests(session: nox.Session) -> None:
    """Run the quick tests, which hold every promise on memory and SQLite: two minutes."""
    install(session, "test")
    pytest(session, "tests", "-m", "not slow", f"--ignore={COMPANY}", *NO_FAULTS)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow tests; `faults`, `docs` and `company` run those of theirs."""
    install(session, "test")
    pytest(session, "tests", "-m", "slow", "--ignore=tests/docs", f"--ignore={COMPANY}", *NO_FAULTS)


@nox.session
def contract(session: nox.Session) -> None:
    """Run the contract on every backend: `nox -s contract -- --healthstore-require=mysql`.

    Or that of some: `nox -s contract -- tests/contract/test_mysql.py`.
    """
    install(session, "test")
    named = any(each.startswith("tests/contract/") for each in session.posargs)
    pytest(session, *([] if named else ["tests/contract", f"--ignore={COMPANY}"]))


@nox.session
def servers(session: nox.Session) -> None:
    """Run the quick tests that use a server, and skip where there is none."""
    install(session, "test")
    pytest(session, "tests/unit", "-m", "not slow", "-k", " or ".join(SERVERS))


@nox.session
def faults(session: nox.Session) -> None:
    """Run the tests that break connections and kill servers and programs, one after the other."""
    install(session, "test")
    pytest(session, *FAULT_TESTS)


@nox.session
def company(session: nox.Session) -> None:
    """Run the contract with requests of other tasks beside each: `nox -s company -- -k mysql`."""
    install(session, "test")
    pytest(session, COMPANY)


@nox.session
def differential(session: nox.Session) -> None:
    """Run random programs on memory and other backends: `nox -s differential -- --minutes 60`."""
    install(session, "test")
    session.run("python", "-m", "healthstore.testing.differential", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run every test and report the lines and branches that none of them reached."""
    install(session, "test")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "tests", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


# ---------------------------------------------------------------- checks that run nothing of ours
@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and spelling."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, both strict."""
    install(session, "types")
    scripts = [str(path) for path in python_scripts()]
    session.run("mypy", "--explicit-package-bases", *TYPED)
    if scripts:
        session.run("mypy", "--scripts-are-modules", *scripts)
    python = Path(session.bin) / "python"
    session.run("pyright", "--pythonpath", str(python))


@nox.session
def floors(session: nox.Session) -> None:
    """Check that imports go down the floors only."""
    session.install(*group("lint"))
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})


# ---------------------------------------------------------------- what a reader sees
@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation without a warning and run its code blocks."""
    install(session, "docs")
    session.run(
        *("sphinx-build", "--fail-on-warning", "--keep-going", "--quiet"),
        *("--builder", "html", "docs", "docs/_build/html"),
    )
    pytest(session, "tests/docs")


@nox.session
def examples(session: nox.Session) -> None:
    """Run every example, with the data set of HEALTHSTORE_DATA those that read it."""
    install(session, "test")
    session.run("pytest", "examples/mock_mode_tests", "--healthstore-backends=memory,sqlite")
    data = os.environ.get("HEALTHSTORE_DATA")
    skipped: list[str] = []
    for path in sorted(Path("examples").glob("*.py")):
        if data and path.name in TAKES_DATA:
            session.run("python", str(path), "--data", data, *session.posargs)
        elif path.name in NEEDS_DATA:
            skipped.append(path.name)
        elif path.name in TAKES_CHAIN:
            session.run("python", str(path), *session.posargs)
        else:
            session.run("python", str(path))
    for name in skipped:
        session.warn(f"examples/{name} was not run: HEALTHSTORE_DATA names no data folder")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure healthstore and its peers: `nox -s bench -- postgresql --quick`, or `-- --help`."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


# ---------------------------------------------------------------- the pieces they share
def group(name: str) -> list[str]:
    """List the requirements of a dependency group: pip reads groups itself only from 25.1."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install(session: nox.Session, *groups: str) -> None:
    """Install the package and some dependency groups.

    Editable, so that `nox -R` sees today's code; the README's first command checks the wheel.
    """
    session.install("-e", ".[cli]", *(item for name in groups for item in group(name)))


def pytest(session: nox.Session, *paths: str) -> None:
    """Run pytest over these paths, with the arguments behind `--`."""
    session.run("pytest", *paths, *session.posargs)


def python_scripts() -> list[Path]:
    """Find the Python programs of scripts/, which have no suffix."""
    files = [path for path in sorted(Path("scripts").glob("*")) if path.is_file()]
    return [path for path in files if "python" in path.read_text("utf-8").partition("\n")[0]]
