"""What holds for every command: exit codes, the streams, and messages without secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.commands import Run

import healthstore.errors
from healthstore.cli.exits import EXITS, Exit
from healthstore.errors import HealthstoreError

SECRET = "canary-5ecret"
DOWN = f"postgresql://me:{SECRET}@127.0.0.1:1/data"
COMMANDS = (
    *("demo", "load", "migrate", "verify", "backup", "restore", "schema"),
    *("doctor", "health", "stats", "initialize", "switch", "config"),
)
COMMAND = [sys.executable, "-m", "healthstore"]


def test_every_error_has_its_exit_code() -> None:
    """Each code of the error tree is in the table, and the table names no other."""
    kinds = [HealthstoreError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    ours = {kind.code for kind in kinds if kind.__module__ == healthstore.errors.__name__}
    assert set(EXITS) == ours


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["verfy", "memory://", "memory://"], Exit.USAGE, "Did you mean 'verify'?"),
        (["schema", "show"], Exit.CONFIGURATION, "HEALTHSTORE_PRIMARY"),
        (["schema", "show", "memory://", DOWN], Exit.USAGE, "unexpected extra argument"),
        (["load", "rows.csv", "--url", DOWN], Exit.USAGE, "--entity"),
        (["schema", "show", f"postgrsql://me:{SECRET}@h/d"], Exit.CONFIGURATION, "'postgresql'"),
        (["schema", "show", f"postgresql://me:{SECRET}@h:port/d"], Exit.CONFIGURATION, "port"),
        (["schema", "show", f"mysql://me:{SECRET}/x@h/d"], Exit.CONFIGURATION, "%2F"),
        (["schema", "show", f"mysql://me:{SECRET}@h/d?chraset=x"], Exit.CONFIGURATION, "option"),
        (["schema", "show", SECRET], Exit.CONFIGURATION, "scheme://"),
        (["schema", "show", DOWN], Exit.UNAVAILABLE, "refuses connections"),
        (["backup", DOWN, "b.json"], Exit.UNAVAILABLE, "refuses connections"),
        (["schema", "show", "sqlite:///absent.db"], Exit.USAGE, "absent.db"),
        (["migrate", "sqlite:///absent.db", DOWN], Exit.USAGE, "absent.db"),
        (["restore", "absent.json", "memory://"], Exit.USAGE, "absent.json"),
        (["load", "absent.csv", "--entity", "clinic:Weight", "--url", "memory://"], 2, "absent"),
        (["load", "x.csv", "--entity", "clinic", "--url", DOWN], Exit.USAGE, "MODULE:CLASS"),
        (["load", "x.csv", "--entity", "clinci:Weight", "--url", DOWN], Exit.USAGE, "clinci"),
        (["load", "x.csv", "--entity", "clinic:Wieght", "--url", DOWN], Exit.USAGE, "Weight?"),
        (["load", "x.csv", "--entity", "clinic:dedent", "--url", DOWN], Exit.USAGE, "Patient"),
        (["backup", "memory://", "b.json"], Exit.CONFIGURATION, "no collection"),
    ],
)
def test_a_mistake_ends_with_its_code_and_one_block(
    run: Run, arguments: list[str], code: Exit, says: str
) -> None:
    """Wrong use, configuration and servers that are down: one clear block, no secret in it."""
    ended = run(*arguments)
    assert ended.code == code
    assert not ended.out
    first, *rest = ended.err.splitlines()
    assert first.startswith("error: ")
    assert all(line.startswith(("  where: ", "  hint: ", "  code: ")) for line in rest)
    assert len(rest) >= 2
    assert says in ended.err
    assert SECRET not in ended.err

    ended = run(*arguments, "--json")
    assert ended.code == code
    error = ended.data["error"]
    assert error["message"] in first
    assert error["code"]
    assert SECRET not in ended.out + ended.err


def test_manners_may_stand_before_the_command(run: Run) -> None:
    """``healthstore --json schema …`` is ``healthstore schema … --json``."""
    assert run("--json", "-q", "schema", "show", "sqlite:///absent.db").data["exit"] == Exit.USAGE


def test_quiet_leaves_errors(run: Run) -> None:
    """``--quiet`` shows errors and nothing else."""
    ended = run("schema", "show", "sqlite:///absent.db", "--quiet")
    assert (ended.out, ended.code) == ("", Exit.USAGE)
    assert "error: " in ended.err


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("broken", f"raise KeyError({SECRET!r})", "'broken' raises KeyError"),
        ("needy", "import not_there_at_all", "imports 'not_there_at_all'"),
    ],
)
def test_a_broken_module_is_named(run: Run, folder: Path, name: str, text: str, says: str) -> None:
    """A module of entities that cannot be imported is told by type and line, not by content."""
    (folder / f"{name}.py").write_text(f"\n{text}\n", "utf-8")
    ended = run("load", "x.csv", "--entity", f"{name}:Thing", "--url", "memory://")
    assert ended.code == Exit.USAGE
    assert says in ended.err
    assert SECRET not in ended.err


def test_without_the_extra_it_says_how_to_install_it() -> None:
    """Without typer the command prints the line that installs it, and exits with 3."""
    script = "import sys; sys.modules['typer'] = None; from healthstore.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{script} sys.exit(main(['demo']))"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == Exit.MISSING
    assert done.stdout == ""
    assert 'python -m pip install "healthstore[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_light() -> None:
    """``--help`` names every command, and imports neither a driver nor rich."""
    script = (
        "import sys; from healthstore.cli import main; code = main(['--help']); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == Exit.OK
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
    heavy = {"aiomysql", "asyncpg", "pymongo", "rich", "sqlalchemy", "sqlite3"}
    heavy |= {"asyncio", "pydantic"}  # what reads settings and opens stores
    assert not heavy & set(done.stderr.split())


def test_no_command_is_wrong_use(run: Run) -> None:
    """Alone, ``healthstore`` shows its help and exits with 2."""
    ended = run()
    assert ended.code == Exit.USAGE
    assert "Usage: healthstore" in ended.out


def test_the_version_is_printed(run: Run) -> None:
    """``--version`` prints the version alone."""
    ended = run("--version")
    assert (ended.code, ended.out) == (Exit.OK, f"{healthstore.__version__}\n")


def test_an_interrupt_ends_with_130() -> None:
    """Ctrl-C ends the work at its next await, with one line and exit code 130."""
    script = (
        "import asyncio, signal, sys\n"
        # A shell starts what runs in the background with SIGINT ignored, and we inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from healthstore.cli.command import perform\n"
        "from healthstore.cli.output import Manners\n"
        "async def job(output):\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "sys.exit(perform(Manners(json=True), job))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == Exit.INTERRUPTED
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert err == "error: interrupted\n  code: interrupted\n"


def test_a_second_interrupt_does_not_break_the_telling_of_the_first() -> None:
    """Ctrl-C once more, while the end is told and after it, changes neither text nor exit code."""
    script = (
        "import io, os, signal, sys\n"
        "class Impatient(io.TextIOWrapper):\n"
        "    def write(self, text):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        return super().write(text)\n"
        "sys.stderr = Impatient(sys.stderr.detach(), write_through=True)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from healthstore.cli.command import perform\n"
        "from healthstore.cli.output import Manners\n"
        "async def job(output):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "code = perform(Manners(), job)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(code)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == Exit.INTERRUPTED
    assert ended.stderr == "error: interrupted\n  code: interrupted\n"


@pytest.mark.parametrize("code", [Exit.OK, Exit.MISMATCH])
def test_a_reader_that_leaves_ends_the_command_quietly(code: Exit) -> None:
    """``healthstore … | head -1`` ends without a word about the pipe, with its own exit code."""
    script = (
        "import sys\n"
        "from healthstore.cli.command import perform\n"
        "from healthstore.cli.output import Manners\n"
        "async def job(output):\n"
        "    while not output.gone:\n"
        "        output.show('x' * 1000)\n"
        "    output.result({})\n"
        "    return int(sys.argv[1])\n"
        "sys.exit(perform(Manners(), job))\n"
    )
    asked = [sys.executable, "-c", script, str(code)]
    with subprocess.Popen(
        asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
@pytest.mark.parametrize("manner", ["", "--json"])
def test_a_full_disk_is_told_in_one_block(manner: str) -> None:
    """Where the result cannot be written, standard error says so, and nothing else."""
    asked = [*COMMAND, "stats", "--url", "memory://", *manner.split()]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(asked, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == Exit.FAILURE
    assert ended.stderr == (
        "error: the result cannot be written: No space left on device\n"
        "  where: standard output\n"
        "  hint: what the command did is done\n"
        "  code: file\n"
    )


def test_a_command_without_standard_output_does_its_work() -> None:
    """A stream that was closed by the caller is no reason to fail."""
    asked = f"exec {' '.join(COMMAND)} stats --url memory:// >&-"
    ended = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")


def test_a_defect_is_reported_without_what_it_holds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is told by type and place: its message may hold a value."""

    def fail(_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("healthstore.cli.schema.show.parents_first", fail)
    Path("there.db").touch()
    ended = run("schema", "show", "sqlite:///there.db")
    assert ended.code == Exit.FAILURE
    assert "unexpected RuntimeError" in ended.err
    assert "where: healthstore.cli.schema.show:" in ended.err
    assert SECRET not in ended.err


def test_the_module_is_the_command(folder: Path) -> None:
    """``python -m healthstore`` works, and colours are off unless a person watches."""
    done = subprocess.run(
        [*COMMAND, "schema", "show", "sqlite:///absent.db"],
        cwd=folder,
        env={**os.environ, "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == Exit.USAGE
    assert "\x1b" not in done.stderr + done.stdout


def test_shells_complete_commands() -> None:
    """``healthstore mi<Tab>`` after ``healthstore --install-completion``."""
    asked = {"_HEALTHSTORE_COMPLETE": "complete_bash", "COMP_WORDS": "healthstore mi"}
    ended = subprocess.run(
        COMMAND,
        env={**os.environ, **asked, "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split() == ["migrate"]
