"""``config``: what is in effect and from where, whether it can work, and the file to begin with."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Awaitable, Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from healthstore.cli.command import perform
from healthstore.cli.config import check_config, init_config, schema_config, show_config
from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError
from healthstore.cli.output import Manners, Output
from healthstore.config import read_settings
from healthstore.errors import ConfigurationError

CANARY = "c4n4ry-77231977"
TOML = f"""
[[members]]
name = "main"
url = "postgresql://app:{CANARY}@db.example.org/app"
pool_size = 7

[[members]]
name = "second"
url = "mysql://app@h/d"
password = "{CANARY}"
"""


async def ended(
    job: Callable[[Output], Awaitable[int]], *, json_too: bool = False
) -> tuple[int, str]:
    """Return how a command's work ended, and what it wrote."""
    stdout = StringIO()
    code = await job(Output(Manners(json=json_too, no_color=True), stdout, StringIO()))
    return code, stdout.getvalue()


def has_row(table: str, *cells: str) -> bool:
    """Tell whether a row of the table holds these cells."""
    return any(all(cell in line for cell in cells) for line in table.splitlines())


@pytest.fixture(autouse=True)
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no variable of a database's own in the environment."""
    for name in ("DATABASE_URL", "POSTGRES_DB", "POSTGRES_HOST", "MYSQL_HOST", "MONGODB_URI"):
        monkeypatch.delenv(name, raising=False)


async def test_show_names_each_value_and_its_source(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting has a row with its value; with ``origin`` also where it comes from."""
    (folder / "healthstore.toml").write_text(TOML, "utf-8")
    monkeypatch.setenv("HEALTHSTORE_PROBE__FALL", "5")
    code, text = await ended(lambda output: show_config(output, None, None, origin=True))
    assert code == Exit.OK
    assert has_row(text, "members.main.pool_size", "7", "healthstore.toml [[members]]")
    assert has_row(text, "members.main.url", "postgresql://app:***@db.example.org/app")
    assert has_row(text, "members.second.password", "***")
    assert has_row(text, "probe.fall", "5", "environment variable HEALTHSTORE_PROBE__FALL")
    assert has_row(text, "profile", "development", "default")
    _, text = await ended(lambda output: show_config(output, None, "test", origin=False))
    assert has_row(text, "profile", "test")
    assert "default" not in text


async def test_show_as_json_has_the_same_values(folder: Path) -> None:
    """With ``--json`` there is one object, and no secret in it."""
    (folder / "mine.toml").write_text(TOML, "utf-8")
    code, text = await ended(
        lambda output: show_config(output, Path("mine.toml"), None, origin=True), json_too=True
    )
    found = json.loads(text)
    assert (code, found["ok"], found["exit"], found["command"]) == (0, True, 0, "config show")
    assert found["settings"]["members.main.pool_size"] == 7
    assert found["settings"]["failover.mode"] is None
    assert found["origins"]["members.main.pool_size"] == "mine.toml [[members]]"
    assert set(found["origins"]) == set(found["settings"])
    assert CANARY not in text


@pytest.mark.parametrize("json_too", [False, True])
async def test_no_command_shows_a_secret(folder: Path, json_too: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Neither show nor check writes a password of the file."""
    (folder / "healthstore.toml").write_text(TOML, "utf-8")
    for job in (
        lambda output: show_config(output, None, None, origin=True),
        lambda output: check_config(output, None, None),
    ):
        code, text = await ended(job, json_too=json_too)
        assert code == Exit.OK
        assert CANARY not in text


async def test_check_builds_every_member_without_connecting(folder: Path) -> None:
    """Servers that are not there are no mistake of the configuration; nothing is made."""
    (folder / "healthstore.toml").write_text(
        TOML + '[[members]]\nurl = "sqlite:///never.db"\n', "utf-8"
    )
    code, text = await ended(lambda output: check_config(output, None, None))
    assert code == Exit.OK
    assert "ok main: postgresql://app:***@db.example.org/app" in text
    assert "ok sqlite: sqlite:///never.db" in text
    assert not (folder / "never.db").exists()
    code, text = await ended(lambda output: check_config(output, None, None), json_too=True)
    assert list(json.loads(text)["members"]) == ["main", "second", "sqlite"]


@pytest.mark.parametrize(
    "text",
    [
        "[[members]]\nurl = 'postgresql://h/d?timeot=3'",  # only the adapter knows the options
        "[[members]]\nurl = 'mysql://h'",
        "[[member]]\nurl = 'memory://'",
        "profile = 'production'\nmock = 'on'\n[[members]]\nurl = 'sqlite:///a.db'",
    ],
)
def test_check_ends_with_the_code_of_a_wrong_configuration(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot work exits with 4 and says what to do."""
    (folder / "healthstore.toml").write_text(text, "utf-8")
    code = perform(Manners(), lambda output: check_config(output, None, None))
    assert code == Exit.CONFIGURATION
    assert "hint:" in capsys.readouterr().err


async def test_init_writes_a_file_that_check_accepts(folder: Path) -> None:
    """The file is for its owner only, is accepted as it is, and is never overwritten."""
    path = folder / "healthstore.toml"
    code, text = await ended(lambda output: init_config(output, path))
    assert code == Exit.OK
    assert str(path) in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    code, _ = await ended(lambda output: check_config(output, None, None))
    assert code == Exit.OK
    path.write_text("mine", "utf-8")
    with pytest.raises(CommandError) as refused:
        await ended(lambda output: init_config(output, path))
    assert refused.value.failure.exit == Exit.REFUSED
    assert path.read_text("utf-8") == "mine"


def uncommented(text: str) -> str:
    """Return the file that init writes, with everything in it that is commented out."""
    rows = [row.removeprefix("# ").removeprefix("#") for row in text.splitlines()]
    return "\n".join(row for row in rows if re.match(r"\[|\w+ = ", row))


async def test_what_init_comments_out_is_right_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every example of the file can be used: without the comment marks it is accepted."""
    path = folder / "healthstore.toml"
    await ended(lambda output: init_config(output, path))
    path.write_text(uncommented(path.read_text("utf-8")), "utf-8")
    monkeypatch.setenv("DB_PASSWORD", "x")
    monkeypatch.setenv("CURSOR_KEY", "x" * 16)
    monkeypatch.setenv("DATABASE_URL", "")
    settings = read_settings(file=path, dotenv=None).settings
    assert [each.name for each in settings.members] == ["main", "standby"]


async def test_the_schema_is_of_the_file_that_is_read(folder: Path) -> None:
    """It names the settings that the file may have, and forbids others."""
    code, text = await ended(schema_config)
    found: dict[str, Any] = json.loads(text)
    assert code == Exit.OK
    assert found["additionalProperties"] is False
    assert set(found["properties"]) == {
        "profile",
        "mock",
        "slow_seconds",
        "coalesce",
        "evolve",
        "seed",
        "cursor_key",
        "idempotency_hours",
        "members",
        "pool",
        "failover",
        "probe",
        "profiles",
    }
    _, text = await ended(schema_config, json_too=True)
    assert json.loads(text)["schema"] == found
    for name in found["properties"]:
        (folder / "healthstore.toml").write_text(f"{name} = 1979-05-27", "utf-8")
        with pytest.raises(ConfigurationError) as refused:
            read_settings(environ={})
        assert "there is no setting" not in str(refused.value)
