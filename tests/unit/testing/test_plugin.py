"""The pytest plugin: absent servers are seen, required ones must be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

import pytest

from healthstore.abc.registry import BUILT_IN
from healthstore.testing.provision import SERVERS

USES = """
import pytest

@pytest.fixture
async def backend(healthstore_empty):
    async with healthstore_empty({name!r}) as backend:
        yield backend

async def test_it(backend):
    await backend.ping()
"""
INSTALLED = any(point.name == "healthstore" for point in entry_points(group="pytest11"))


def run(pytester: pytest.Pytester, *arguments: str, mode: str = "auto") -> pytest.RunResult:
    """Run pytest on the files of the test, with the plugin."""
    plugin = () if INSTALLED else ("-p", "healthstore.testing.plugin")
    scope = "asyncio_default_fixture_loop_scope=function"
    return pytester.runpytest_inprocess(
        *plugin, "-o", f"asyncio_mode={mode}", "-o", scope, "-p", "no:cacheprovider", *arguments
    )


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the servers of this machine."""
    for variable in SERVERS.values():
        if variable:
            monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("name", "variable"), [each for each in SERVERS.items() if each[1] is not None]
)
def test_an_absent_server_is_a_visible_skip(
    pytester: pytest.Pytester, name: str, variable: str
) -> None:
    """The skip says which variable to set."""
    pytester.makepyfile(USES.format(name=name))
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*{name} is absent: set {variable} *"])
    assert result.ret == pytest.ExitCode.OK


def test_an_absent_server_that_is_required_is_a_failure(pytester: pytest.Pytester) -> None:
    """With --healthstore-require the run fails, and says which variable to set."""
    pytester.makepyfile(USES.format(name="mysql"))
    result = run(pytester, "--healthstore-require=mysql")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*set HEALTHSTORE_TEST_MYSQL_URL *"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("body", ["def test_it(): pass", "", USES.format(name="memory")])
def test_a_run_that_uses_no_required_server_fails(pytester: pytest.Pytester, body: str) -> None:
    """Green tests are no proof when none of them used the server."""
    pytester.makepyfile(body)
    result = run(pytester, "--healthstore-require=sqlite")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["healthstore: required, but used by no test: sqlite"])


def test_a_run_that_uses_what_is_required_passes(pytester: pytest.Pytester) -> None:
    """A required backend that a test has used is fine."""
    pytester.makepyfile(USES.format(name="sqlite"))
    result = run(pytester, "--healthstore-require= sqlite,")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK


def test_workers_report_what_they_used(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pytest-xdist the controller knows what its workers have used."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, sys.path)))
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    pytester.makepyfile(USES.format(name="memory"))
    plugin = () if INSTALLED else ("-p", "healthstore.testing.plugin")
    arguments = (*plugin, "-n1", "-o", "asyncio_mode=auto", "--healthstore-require=memory")
    assert pytester.runpytest_subprocess(*arguments).ret == pytest.ExitCode.OK
    arguments = (*arguments[:-1], "--healthstore-require=sqlite")
    assert pytester.runpytest_subprocess(*arguments).ret == pytest.ExitCode.TESTS_FAILED


def test_an_unknown_server_is_a_usage_error(pytester: pytest.Pytester) -> None:
    """A misspelt name does not pass for a server that is there."""
    result = run(pytester, "--healthstore-require=postgres")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown postgres; known: *postgresql*"])


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_contract_runs_on_any_url(pytester: pytest.Pytester, mode: str) -> None:
    """--healthstore-backend alone runs the shipped contract, whatever the asyncio mode."""
    result = run(pytester, "--healthstore-backend=memory://", "-k", "ping or stale", mode=mode)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 4
    assert not {"failed", "errors", "skipped"} & set(outcomes)


@pytest.mark.parametrize(
    "source",
    [
        "from healthstore.testing.contract import *\n@pytest_asyncio.fixture\n{fixture}",
        (
            "from healthstore.testing.contract import ContractTests\n"
            "@pytest_asyncio.fixture\n{fixture}\nclass TestMine(ContractTests): pass"
        ),
    ],
)
def test_an_author_s_file_is_short(pytester: pytest.Pytester, source: str) -> None:
    """A star import, or one class, and a fixture run the contract in strict mode."""
    fixture = (
        "async def backend():\n"
        "    backend = MemoryAdapter('mine')\n"
        "    await backend.open()\n"
        "    yield backend\n"
        "    await backend.close()\n"
    )
    head = "import pytest_asyncio\nfrom healthstore.adapters.memory import MemoryAdapter\n"
    pytester.makepyfile(head + source.format(fixture=fixture))
    result = run(pytester, "-k", "a_ping_answers or given_is_a_copy", mode="strict")
    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])


SECRET = "c4n4ry-77231977"  # a password that must never be printed


def canaries() -> dict[str, str]:
    """Return URLs with a password: of servers that are down, that refuse it, and malformed."""
    found = {
        "postgresql down": f"postgresql://hs:{SECRET}@127.0.0.1:1/x",
        "mysql down": f"mysql://hs:{SECRET}@127.0.0.1:1/x",
        "mongodb down": f"mongodb://hs:{SECRET}@127.0.0.1:1/x?serverSelectionTimeoutMS=300",
        "malformed": f"postgresql://hs:{SECRET}@h:port/x",
        "unknown option": f"postgresql://hs:{SECRET}@h/x?wrong={SECRET}",
    }
    for name, variable in SERVERS.items():
        scheme, mark, rest = os.environ.get(variable or "", "").partition("://")
        if mark:
            found[f"{name} refuses"] = f"{scheme}://hs:{SECRET}@{rest.rpartition('@')[2]}"
    return found


CANARIES = canaries()


@pytest.fixture
def drivers() -> None:
    """Load the drivers here: each inner run forgets what it imported, and C code is loaded once."""
    for built_in in BUILT_IN.values():
        import_module(built_in.target.partition(":")[0])


@pytest.mark.usefixtures("drivers")
@pytest.mark.parametrize("name", CANARIES)
def test_no_traceback_shows_the_password_of_a_url(pytester: pytest.Pytester, name: str) -> None:
    """Whatever fails at a server, the report says what and where, and never the password."""
    pytester.makepyfile("async def test_it(healthstore_manager): pass")
    for options in (("--tb=auto",), ("-l", "--tb=long")):
        result = run(pytester, f"--healthstore-url={CANARIES[name]}", *options)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        text = result.stdout.str() + result.stderr.str()
        assert SECRET not in text
        assert "ConnectionParameters" not in text
        assert "URL" in text  # what to do


def test_the_plugin_is_light() -> None:
    """Loading the plugin imports nothing of the model, no driver and no Hypothesis."""
    script = "import healthstore.testing.plugin, sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stdout.split())
    assert not {"hypothesis", "sqlalchemy", "asyncpg", "pymongo", "aiomysql"} & loaded
    assert not any(name.startswith("healthstore.testing.contract") for name in loaded)


RECORDED = """
import pytest

@pytest.fixture
async def backend(healthstore_empty):
    async with healthstore_empty("memory") as backend:
        yield backend

@pytest.mark.healthstore_claims("V1", "V2")
@pytest.mark.healthstore_needs("transactions")
@pytest.mark.healthstore_partly_needs("alters")
@pytest.mark.parametrize("case", [1, 2])
async def test_some(backend, case):
    assert case == 1

@pytest.mark.healthstore_claims("V1")
async def test_all(backend):
    await backend.ping()

async def test_nothing(backend):
    await backend.ping()
"""


def test_a_run_is_recorded(pytester: pytest.Pytester) -> None:
    """Test by test: claims, needs, the backend with its capabilities, and the worst outcome."""
    pytester.makepyfile(RECORDED)
    run(pytester, "--healthstore-record=proof.json").assert_outcomes(passed=3, failed=1)
    record = json.loads((pytester.path / "proof.json").read_text("utf-8"))
    assert record["backends"]["memory"]["durable"] is False
    assert record["backends"]["memory"]["transactions"] is True
    assert record["proofs"] == [
        {
            "test": "test_all",
            "claims": ["V1"],
            "needs": [],
            "partly_needs": [],
            "backend": "memory",
            "outcome": "passed",
        },
        {
            "test": "test_some",
            "claims": ["V1", "V2"],
            "needs": ["transactions"],
            "partly_needs": ["alters"],
            "backend": "memory",
            "outcome": "failed",
        },
    ]


TORN = """
from dataclasses import replace

import pytest

from healthstore.adapters.memory import MemoryAdapter

class Narrow(MemoryAdapter):
    capabilities = replace(MemoryAdapter.capabilities, alters=False)

@pytest.mark.healthstore_claims("V1")
@pytest.mark.parametrize("backend", [MemoryAdapter("one"), Narrow("one")])
def test_some(backend):
    pass
"""


def test_a_name_that_two_kinds_of_backends_share_is_no_record(pytester: pytest.Pytester) -> None:
    """What one of them refuses would stand in the other's column."""
    pytester.makepyfile(TORN)
    result = run(pytester, "--healthstore-record=proof.json")
    result.stderr.fnmatch_lines(["*different capabilities are named one*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (pytester.path / "proof.json").exists()
