"""The fixtures for the tests of services, in test runs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from healthstore.testing.provision import SERVERS

INSTALLED = any(point.name == "healthstore" for point in entry_points(group="pytest11"))

ENTITIES = """
from typing import Annotated
from healthstore import Entity, MaxLength, Unique

class User(Entity, collection="users"):
    name: Annotated[str, MaxLength(40), Unique()]

class Note(Entity, collection="notes"):
    text: str
"""

SERVICE = """
import pytest
from app import User

async def test_one(healthstore_manager):
    await healthstore_manager.repository(User).add(User(name="Ann"))
    assert await healthstore_manager.repository(User).count() == 1

async def test_two(healthstore_manager):
    await healthstore_manager.repository(User).add(User(name="Ann"))
    async with healthstore_manager.transaction() as tx:
        await tx.repository(User).add(User(name="Ben"))
    assert await healthstore_manager.repository(User).count() == 2
"""


@pytest.fixture
def app(pytester: pytest.Pytester) -> pytest.Pytester:
    """Make a folder with a service's entities, which pytest initializes."""
    pytester.makepyfile(app=ENTITIES)
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\n"
        'pythonpath = ["."]\n'
        'healthstore_entities = ["app:User", "app:Note"]\n'
        'filterwarnings = ["error"]\n'
    )
    return pytester


def run(pytester: pytest.Pytester, *arguments: str, mode: str = "auto") -> pytest.RunResult:
    """Run pytest on the files of the test, in a process of its own."""
    plugin = () if INSTALLED else ("-p", "healthstore.testing.plugin")
    scope = "asyncio_default_fixture_loop_scope=function"
    ours = ("-p", "no:randomly", "-o", f"asyncio_mode={mode}", "-o", scope)
    return pytester.runpytest_subprocess(*plugin, *ours, *arguments)


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the servers of this machine."""
    for variable in SERVERS.values():
        if variable:
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs of pytest import what this one imports."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, filter(None, sys.path))))


def test_each_test_has_an_empty_store(app: pytest.Pytester) -> None:
    """Without any option it is memory; what one test writes no other sees."""
    app.makepyfile(SERVICE)
    run(app).assert_outcomes(passed=2)


@pytest.mark.slow
def test_the_same_tests_run_on_several_backends(app: pytest.Pytester, no_servers: None) -> None:
    """One test for each backend; the absent one is a skip that names its variable."""
    app.makepyfile(SERVICE)
    result = run(app, "--healthstore-backends=memory,sqlite,mysql", "-v", "-rs")
    result.assert_outcomes(passed=4, skipped=2)
    result.stdout.fnmatch_lines(
        ["*test_one?memory?*PASSED*", "*test_one?sqlite?*PASSED*", "*HEALTHSTORE_TEST_MYSQL_URL*"]
    )
    required = ("--healthstore-backends=mysql", "--healthstore-require=mysql")
    run(app, *required).assert_outcomes(errors=2)


@pytest.mark.parametrize("name", [name for name, variable in SERVERS.items() if variable])
def test_a_server_is_left_as_it_was(app: pytest.Pytester, name: str) -> None:
    """The tests pass on every server, in a database of their own, one after the other."""
    variable = SERVERS[name] or ""
    if not os.environ.get(variable):
        pytest.skip(f"{name} is absent: set {variable} to the URL of a server")
    app.makepyfile(
        SERVICE.replace(
            "async with healthstore_manager.transaction() as tx:", "if tx := healthstore_manager:"
        )
    )
    run(app, f"--healthstore-backends={name}", f"--healthstore-require={name}").assert_outcomes(
        passed=2
    )


@pytest.mark.slow
def test_a_url_names_the_backend(app: pytest.Pytester) -> None:
    """By the option, or by a setting; a file of SQLite's is made beside the URL's."""
    app.makepyfile(
        SERVICE + "\ndef test_name(healthstore_target, healthstore_manager):\n"
        "    assert healthstore_target == 'url'\n"
        "    assert healthstore_manager.active == 'sqlite'\n"
    )
    run(app, "--healthstore-url=sqlite:///mine.db").assert_outcomes(passed=3)
    run(app, "-o", "healthstore_url=sqlite:///mine.db").assert_outcomes(passed=3)
    assert not (app.path / "mine.db").exists()


@pytest.mark.slow
def test_the_entities_come_from_a_marker_or_a_fixture(app: pytest.Pytester) -> None:
    """The nearest one counts: a marker before the setting, one's own fixture before both."""
    app.makepyfile(
        """
        import pytest
        from healthstore import Entity
        from app import Note, User

        class Other(Entity, collection="others"):
            number: int

        async def known(db):
            return [each async for each in stored(db)]

        async def stored(db):
            for each in (User, Note, Other):
                try:
                    await db.repository(each).count()
                except Exception:
                    continue
                yield each

        async def test_setting(healthstore_manager, healthstore_memory):
            assert await known(healthstore_manager) == [User, Note]
            assert await known(healthstore_memory) == [User, Note]

        @pytest.mark.healthstore_entities([Other])
        async def test_marker(healthstore_manager):
            assert await known(healthstore_manager) == [Other]

        class TestFixture:
            @pytest.fixture
            def healthstore_entities(self):
                return (Note,)

            async def test_it(self, healthstore_manager):
                assert await known(healthstore_manager) == [Note]
        """
    )
    run(app, "--strict-markers", "--healthstore-url=sqlite:///x.db").assert_outcomes(passed=3)


@pytest.mark.slow
def test_a_wrong_entity_is_named(app: pytest.Pytester) -> None:
    """The setting says module:Class, and the error says which one is not."""
    app.makepyfile(SERVICE)
    result = run(app, "-o", "healthstore_entities=app:Usr")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*healthstore_entities: 'app:Usr' is not module:Class*"])


def test_faults_strike_the_managers_of_the_fixtures(app: pytest.Pytester) -> None:
    """One plan for all of them, empty again in the next test."""
    app.makepyfile(
        """
        import pytest
        from app import User
        from healthstore.errors import OutcomeUnknownError

        @pytest.mark.parametrize("name", ["healthstore_manager", "healthstore_memory"])
        async def test_it(request, name, healthstore_faults, healthstore_manager, healthstore_memory):
            db = {"healthstore_manager": healthstore_manager}.get(name, healthstore_memory)
            healthstore_faults.lose("insert")
            with pytest.raises(OutcomeUnknownError):
                await db.repository(User).add(User(name="Ann"))
            assert await db.repository(User).count() == 1
            healthstore_faults.down()
        """
    )
    run(app).assert_outcomes(passed=2)


@pytest.mark.slow
def test_a_test_may_roll_back_on_a_database_of_its_own_choice(app: pytest.Pytester) -> None:
    """healthstore_rollback leaves the documents of a URL's very database as they were."""
    app.makepyfile(
        """
        from app import User
        from healthstore import DatabaseManager

        async def test_it(healthstore_rollback, tmp_path):
            url = f"sqlite:///{tmp_path / 'mine.db'}"
            async with DatabaseManager(url) as db:
                await db.initialize(User)
                await db.repository(User).add(User(name="Ann"))
            async with healthstore_rollback(url, User) as db:
                await db.repository(User).add(User(name="Ben"))
                assert await db.repository(User).count() == 2
            async with DatabaseManager(url) as db:
                assert await db.repository(User).count() == 1
        """
    )
    run(app).assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_fixtures_work_in_strict_mode(app: pytest.Pytester) -> None:
    """No mode of pytest-asyncio is needed, and none is set."""
    app.makepyfile(
        """
        import pytest
        from app import User

        @pytest.mark.asyncio
        async def test_it(healthstore_manager, healthstore_memory):
            assert await healthstore_manager.repository(User).count() == 0

        def test_mode(request):
            assert str(request.config.getoption("asyncio_mode") or "strict") == "strict"
        """
    )
    run(app, mode="strict").assert_outcomes(passed=2)


@pytest.mark.slow
def test_without_pytest_asyncio_the_fixtures_say_what_is_missing(app: pytest.Pytester) -> None:
    """Only a test that asks for them fails; the contract's options go on working."""
    app.makepyfile(
        "def test_db(healthstore_manager): pass\n"
        "def test_memory(healthstore_memory): pass\n"
        "def test_other(healthstore_faults): pass\n"
    )
    plugin = () if INSTALLED else ("-p", "healthstore.testing.plugin")
    result = app.runpytest_subprocess(*plugin, "-p", "no:asyncio", "-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*need pytest-asyncio*healthstore?testing?*"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--healthstore-backends=postgres"], "*unknown postgres; known: *postgresql*"),
        (["--healthstore-backends=memory", "--healthstore-url=memory://"], "*not both*"),
    ],
)
def test_a_contradiction_is_a_usage_error(
    app: pytest.Pytester, arguments: list[str], says: str
) -> None:
    """A misspelt or doubled choice does not pass for the default."""
    app.makepyfile(SERVICE)
    result = run(app, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])


def test_the_fixtures_are_light() -> None:
    """Collecting tests that use them imports no model and no driver."""
    script = "import healthstore.testing._fixtures, sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stdout.split())
    assert not {"pydantic", "sqlalchemy", "faker", "healthstore.manager"} & loaded
