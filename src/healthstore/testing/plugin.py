"""The pytest plugin: databases for the tests of services, and for the tests of backends.

For services: the fixtures ``healthstore_memory``, ``healthstore_manager``,
``healthstore_rollback`` and ``healthstore_faults``. ``--healthstore-url=URL`` says where
``healthstore_manager`` keeps its data, ``--healthstore-backends=memory,sqlite,postgresql`` runs
each test that uses it on all of these. ``healthstore_entities`` says what is initialized: a
setting of pytest, a marker, or a fixture of your own with that name.

For authors of backends: ``--healthstore-backend=URL`` runs the contract on any backend, and
``--healthstore-record=FILE`` keeps what was proven, for ``healthstore matrix FILE``.

``--healthstore-require=postgresql,mysql`` turns an absent server into a failure, and so a run
that used none of it. Absent servers are visible skips that name the variable to set. Nothing of
healthstore is imported until a test asks for it, and no setting of pytest is changed. The
asynchronous fixtures need pytest-asyncio, in any mode.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from healthstore.testing._lending import EmptyBackend, LendDatabase, RolledBack, plainly

if TYPE_CHECKING:
    from healthstore.abc import Backend
    from healthstore.abc.url import BackendURL
    from healthstore.entity import Entity
    from healthstore.testing.faults import Faults
    from healthstore.testing.provision import Databases, Lent

__all__ = (
    "EmptyBackend",
    "LendDatabase",
    "RolledBack",
    "healthstore_database",
    "healthstore_databases",
    "healthstore_empty",
    "healthstore_entities",
    "healthstore_faults",
    "healthstore_rollback",
    "healthstore_target",
    "pytest_addoption",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
)

pytest.register_assert_rewrite("healthstore.testing.contract")

_USED = pytest.StashKey[set[str]]()
_OUTPUT = "healthstore_used"
_ABSENT = " is absent: set"
_GIVEN = "given"  # the backend of a URL that an option names
_URL = "url"


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
    group.addoption(
        "--healthstore-url",
        metavar="URL",
        default=None,
        help="where healthstore_manager keeps its data (default: memory://); a database of its "
        "own is made beside the URL's",
    )
    group.addoption(
        "--healthstore-backends",
        metavar="NAMES",
        default="",
        help="run each test that uses healthstore_manager on all of these, for example "
        "memory,sqlite,postgresql; servers are found by HEALTHSTORE_TEST_<NAME>_URL",
    )
    group.addoption(
        "--healthstore-record",
        metavar="FILE",
        default=None,
        help="write to this file which claims the contract's tests proved on which backend: "
        "for `healthstore matrix`",
    )
    parser.addini("healthstore_url", "as --healthstore-url", default="")
    parser.addini(
        "healthstore_entities",
        "the entities that healthstore_manager initializes: module:Class ...",
        type="args",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and choose the contract if a backend is given and nothing else."""
    config.stash[_USED] = set[str]()
    config.addinivalue_line(
        "markers",
        "healthstore_entities(classes): a list, the entities that healthstore_manager initializes",
    )
    for marker in (
        "healthstore_claims(*names): the claims that a test of the contract proves",
        "healthstore_needs(capability): what a backend needs, or the test is one of the refusal",
        "healthstore_partly_needs(capability): what only a part of a test needs",
    ):
        config.addinivalue_line("markers", marker)
    _register_fixtures(config)
    if path := config.getoption("--healthstore-record"):
        from healthstore.testing._recording import Recorder  # noqa: PLC0415 - only when it is needed

        config.pluginmanager.register(Recorder(Path(path)), "healthstore_record")
    for option in ("require", "backends"):
        _require_known(config, option)
    if _names(config, "backends") and config.getoption("--healthstore-url"):
        raise pytest.UsageError("give --healthstore-url or --healthstore-backends, not both")
    if (
        config.getoption("--healthstore-backend")
        and config.args_source is not pytest.Config.ArgsSource.ARGS
    ):
        config.args[:] = [str(Path(__file__).with_name("backend_test.py"))]


def _register_fixtures(config: pytest.Config) -> None:
    """Add the asynchronous fixtures, or others of the same names that say what is missing."""
    fixtures: object = _Unavailable()
    if config.pluginmanager.hasplugin("asyncio"):
        from healthstore.testing import _fixtures as fixtures  # noqa: PLC0415 - needs pytest-asyncio
    config.pluginmanager.register(fixtures, "healthstore_fixtures")


class _Unavailable:
    """What stands for the asynchronous fixtures where pytest-asyncio is not there."""

    @pytest.fixture(name="healthstore_manager")
    def manager(self) -> None:
        """Say what is missing."""
        _fail_without_asyncio()

    @pytest.fixture(name="healthstore_memory")
    def memory(self) -> None:
        """Say what is missing."""
        _fail_without_asyncio()


def _fail_without_asyncio() -> None:
    pytest.fail(
        "the fixtures of healthstore need pytest-asyncio: "
        'python -m pip install "healthstore[testing]"',
        pytrace=False,
    )


def _require_known(config: pytest.Config, option: str) -> None:
    names = _names(config, option)
    if not names:
        return
    from healthstore.testing.provision import SERVERS  # noqa: PLC0415 - only when it is needed

    unknown = sorted(set(names) - SERVERS.keys())
    if unknown:
        raise pytest.UsageError(
            f"--healthstore-{option}: unknown {', '.join(unknown)}; known: {', '.join(SERVERS)}"
        )


def _names(config: pytest.Config, option: str) -> list[str]:
    names = str(config.getoption(f"--healthstore-{option}"))
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _required(config: pytest.Config) -> set[str]:
    return set(_names(config, "require"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the backend under test on each of ``--healthstore-backends``."""
    names = _names(metafunc.config, "backends")
    if names and "healthstore_target" in metafunc.fixturenames:
        metafunc.parametrize("healthstore_target", names, indirect=True)


@pytest.fixture(scope="session")
def healthstore_databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Keep the disposable databases of the session, and drop them at its end."""
    from healthstore.testing.provision import Databases  # noqa: PLC0415 - only when it is needed

    databases = Databases()
    databases.used = request.config.stash[_USED]
    yield databases
    databases.drop()


@pytest.fixture(scope="session")
def healthstore_empty(
    request: pytest.FixtureRequest, healthstore_databases: Databases
) -> EmptyBackend:
    """Return a function from a name to a context that lends an opened, empty backend.

    The name is one of :data:`healthstore.testing.provision.SERVERS`, or ``"given"`` for the URL
    of ``--healthstore-backend``. An absent server skips the test, or fails it if it is required.
    """

    def empty(name: str) -> AbstractAsyncContextManager[Backend]:
        url = _url_of(request.config, name)
        return plainly(lambda: healthstore_databases.empty(name, url))

    return empty


@pytest.fixture(scope="session")
def healthstore_database(
    request: pytest.FixtureRequest, healthstore_databases: Databases
) -> LendDatabase:
    """Return a function from a name, as above, to a context that lends a place for a manager.

    For tests that build a manager of their own: it has the place's URL and layers.
    """

    def lend(name: str) -> AbstractAsyncContextManager[Lent]:
        url = _url_of(request.config, name)
        return plainly(lambda: healthstore_databases.lend(name, url))

    return lend


def _url_of(config: pytest.Config, name: str) -> BackendURL:
    """Return the URL of a server, or skip or fail the test that asks for it."""
    from healthstore.abc.url import BackendURL  # noqa: PLC0415 - only when it is needed
    from healthstore.errors import ConfigurationError  # noqa: PLC0415 - as above
    from healthstore.testing.provision import SERVERS, server_url  # noqa: PLC0415 - as above

    url: BackendURL | None = None
    reason = ""
    try:
        if name == _GIVEN:
            url = BackendURL.parse(str(config.getoption("--healthstore-backend")))
        elif name == _URL:
            url = BackendURL.parse(_target_url(config))
        else:
            url = server_url(name, os.environ)
    except ConfigurationError as error:
        reason = str(error)
    if reason:  # without the frames, which hold the URL
        pytest.fail(f"the URL of {name!r}: {reason}", pytrace=False)
    if url is not None:
        return url
    missing = f"{name}{_ABSENT} {SERVERS[name]} to the URL of a server"
    if name in _required(config):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def _target_url(config: pytest.Config) -> str:
    return str(config.getoption("--healthstore-url") or config.getini("healthstore_url"))


@pytest.fixture
def healthstore_target(request: pytest.FixtureRequest) -> str:
    """Return the name of the backend under test: of ``--healthstore-backends``, or ``"url"``."""
    chosen: str = getattr(request, "param", _URL if _target_url(request.config) else "memory")
    return chosen


@pytest.fixture
def healthstore_entities(request: pytest.FixtureRequest) -> tuple[type[Entity], ...]:
    """Return the entities to initialize: of the nearest marker, or else of pytest's setting."""
    marker = request.node.get_closest_marker("healthstore_entities")
    if marker is not None:
        (classes,) = marker.args  # a list: pytest would take one class for what is decorated
        return tuple(classes)
    listed: list[str] = request.config.getini("healthstore_entities")
    return tuple(_entity(text) for text in listed)


def _entity(text: str) -> type[Entity]:
    module, _, name = text.partition(":")
    try:
        found: type[Entity] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        pytest.fail(f"healthstore_entities: {text!r} is not module:Class ({error})", pytrace=False)
    return found


@pytest.fixture
def healthstore_faults() -> Faults:
    """Return the faults of the managers of this test; none is planned."""
    from healthstore.testing.faults import Faults  # noqa: PLC0415 - only when it is needed

    return Faults()


@pytest.fixture
def healthstore_rollback(healthstore_faults: Faults) -> RolledBack:
    """Return :func:`healthstore.testing.rollback.rolled_back`, with the faults of this test.

    It uses the very database of a URL, for accounts that may not create one.
    """
    from healthstore.testing.rollback import rolled_back  # noqa: PLC0415 - only when it is needed

    return partial(rolled_back, layers=[healthstore_faults.layer])


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
