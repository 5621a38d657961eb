"""The pytest plugin: which backends a test run uses, and which it must use.

``--healthstore-require=postgresql,mysql`` turns an absent server into a failure, and so a run
that used none of it. ``--healthstore-backend=URL`` runs the contract on any backend. Absent
servers are visible skips that name the variable to set. Nothing of healthstore is imported
until a test asks for a backend, and no setting of pytest is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from healthstore.abc import Backend

__all__ = (
    "EmptyBackend",
    "healthstore_empty",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
)

pytest.register_assert_rewrite("healthstore.testing.contract")

EmptyBackend: TypeAlias = "Callable[[str], AbstractAsyncContextManager[Backend]]"
_USED = pytest.StashKey[set[str]]()
_OUTPUT = "healthstore_used"


_ABSENT = " is absent: set"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("healthstore", "backends of healthstore")
    group.addoption(
        "--healthstore-require",
        metavar="NAMES",
        default="",
        help="servers that the run must use, for example postgresql,mysql; "
        "an absent one is a failure instead of a skip",
    )
    group.addoption(
        "--healthstore-backend",
        metavar="URL",
        default=None,
        help="run the contract on this backend; a database of its own is made beside the URL's, "
        "or the URL's is used if the scheme is not one of healthstore's own",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and choose the contract if a backend is given and nothing else."""
    config.stash[_USED] = set[str]()
    required = _required(config)
    if required:
        from healthstore.testing.provision import SERVERS  # noqa: PLC0415 - only when it is needed

        unknown = sorted(required - SERVERS.keys())
        if unknown:
            raise pytest.UsageError(
                f"--healthstore-require: unknown {', '.join(unknown)}; known: {', '.join(SERVERS)}"
            )
    if (
        config.getoption("--healthstore-backend")
        and config.args_source is not pytest.Config.ArgsSource.ARGS
    ):
        from healthstore.testing import backend_test  # noqa: PLC0415 - only when it is needed

        config.args[:] = [str(backend_test.__file__)]


def _required(config: pytest.Config) -> set[str]:
    names = str(config.getoption("--healthstore-require"))
    return {name.strip() for name in names.split(",") if name.strip()}


@pytest.fixture(scope="session")
def healthstore_empty(request: pytest.FixtureRequest) -> Iterator[EmptyBackend]:
    """Return a function from a name to a context that lends an opened, empty backend.

    The name is one of :data:`healthstore.testing.provision.SERVERS`, or ``"given"`` for the URL
    of ``--healthstore-backend``. An absent server skips the test, or fails it if it is required.
    """
    from healthstore.abc import BackendURL  # noqa: PLC0415 - only when it is needed
    from healthstore.testing.provision import (  # noqa: PLC0415 - as above
        SERVERS,
        Databases,
        server_url,
    )

    databases = Databases()
    config = request.config
    databases.used = config.stash[_USED]

    def empty(name: str) -> AbstractAsyncContextManager[Backend]:
        given = config.getoption("--healthstore-backend")
        url = server_url(name, os.environ) if name in SERVERS else BackendURL.parse(str(given))
        if url is not None:
            return databases.empty(name, url)
        missing = f"{name}{_ABSENT} {SERVERS[name]} to the URL of a server"
        if name in _required(config):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)

    yield empty
    databases.drop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report the tests that an absent server skips at one place: then pytest counts them."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and _ABSENT in report.longrepr[2]:
        report.longrepr = (str(item.path), 1, report.longrepr[2])
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that did not use every backend that it was required to use."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # a worker of pytest-xdist tells its controller
        used: set[str] = session.config.stash[_USED]
        output[_OUTPUT] = sorted(used)
    elif exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED} and _unused(
        session.config
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """Collect what a worker of pytest-xdist has used."""
    del error
    config: pytest.Config | None = getattr(node, "config", None)
    output: dict[str, list[str]] = getattr(node, "workeroutput", {})
    if config is not None:
        config.stash[_USED].update(output.get(_OUTPUT, ()))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the backends that were required and not used."""
    unused = _unused(config)
    if unused:
        terminalreporter.write_line(
            f"healthstore: required, but used by no test: {', '.join(unused)}", red=True
        )


def _unused(config: pytest.Config) -> list[str]:
    if config.getoption("collectonly"):
        return []
    used: set[str] = config.stash[_USED]
    return sorted(_required(config) - used)
