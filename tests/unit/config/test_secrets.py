"""Secrets: read from files, guarded by their modes, and never shown."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from pprint import pformat

import pytest

from healthstore.config import Loaded, read_settings
from healthstore.config import variables as variables_module
from healthstore.config.familiar import NAMES
from healthstore.config.read import masked
from healthstore.config.variables import Variable, Variables
from healthstore.errors import ConfigurationError

CANARY = "c4n4ry-77231977"


def read(**environ: str) -> Loaded:
    """Read an environment, and nothing else."""
    return read_settings(environ=environ, dotenv=None)


def secret(path: Path, text: str, mode: int = 0o600) -> str:
    """Write a secret file and return its path."""
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return str(path)


def refused(**environ: str) -> str:
    """Return the error of an environment that is refused."""
    with pytest.raises(ConfigurationError) as error:
        read(**environ)
    assert error.value.hint
    assert error.value.__cause__ is None
    return str(error.value)


# --- files ----------------------------------------------------------------------------------------

URL = "postgresql://app:p%40ss@h/d"
IN_FILES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "url": ({"DATABASE_URL_FILE": URL}, {}),
    "primary": ({"HEALTHSTORE_PRIMARY_FILE": URL}, {}),
    "member": ({"HEALTHSTORE_MEMBERS__POSTGRESQL__URL_FILE": URL}, {}),
    "password": (
        {"POSTGRES_PASSWORD_FILE": "p@ss"},
        {"POSTGRES_HOST": "h", "POSTGRES_DB": "d", "POSTGRES_USER": "app"},
    ),
    "generic password": (
        {"DB_PASSWORD_FILE": "p@ss"},
        {"DB_TYPE": "postgresql", "DB_HOST": "h", "DB_NAME": "d", "DB_USER": "app"},
    ),
    "password of a member": (
        {"HEALTHSTORE_MEMBERS__POSTGRESQL__PASSWORD_FILE": "p@ss"},
        {"DATABASE_URL": "postgresql://app@h/d"},
    ),
}


@pytest.mark.parametrize("case", IN_FILES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_may_be_in_a_file(folder: Path, case: str, end: str) -> None:
    """``X_FILE`` gives what ``X`` would; one line end is cut off, and the origin names the file."""
    files, plain = IN_FILES[case]
    paths = {name: secret(folder / name, text + end) for name, text in files.items()}
    loaded = read(**plain, **paths)
    (member,) = loaded.settings.members
    url = member.backend_url()
    assert (str(url), url.password) == ("postgresql://app:***@h/d", "p@ss")
    origins = " ".join(map(str, loaded.origins.values()))
    assert all(f"{name}: {path}" in origins for name, path in paths.items())


def test_every_variable_may_be_in_a_file(folder: Path) -> None:
    """Each known name is also read from a file, and both spellings at once are refused."""
    for name in sorted(NAMES):
        found = Variables.of_environment({f"{name}_FILE": secret(folder / "x", CANARY)})
        given = found.get(name)
        assert given is not None
        assert given.text == CANARY
    text = refused(DB_TYPE="sqlite", DB_NAME="a", DB_PASSWORD=CANARY, DB_PASSWORD_FILE="/x")
    assert "DB_PASSWORD" in text
    assert "DB_PASSWORD_FILE" in text
    assert CANARY not in text


def test_a_secret_file_that_cannot_be_used_is_named(folder: Path) -> None:
    """Missing, empty, no file, too long, no text: each is told with the variable and the path."""
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")  # must not be waited for
    secret(folder / "empty", "\n")
    secret(folder / "long", "x" * 70_000)
    for name, reason in (
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("folder", "is not a file"),
        ("pipe", "is not a file"),
        ("binary", "UTF-8"),
        ("long", "too long"),
    ):
        text = refused(DATABASE_URL_FILE=str(folder / name))
        assert "environment variable DATABASE_URL_FILE" in text
        assert str(folder / name) in text
        assert reason in text


def test_an_environment_that_is_no_text_is_refused() -> None:
    """A value with bytes that are not UTF-8 is refused by the variable's name."""
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not text") as error:
        read(DATABASE_URL=f"postgresql://u:{CANARY}\udcff@h/d")
    assert CANARY not in str(error.value)
    assert error.value.__context__ is None


def test_a_file_overrides_a_dotenv_value_and_the_other_way_round(folder: Path) -> None:
    """Between sources there is precedence, not conflict."""
    path = secret(folder / "x", "sqlite:///file")
    (folder / ".env").write_text("DATABASE_URL=sqlite:///plain\n", "utf-8")
    loaded = read_settings(environ={"DATABASE_URL_FILE": path})
    assert str(loaded.settings.members[0].backend_url()) == "sqlite:///file"
    (folder / ".env").write_text(f"DATABASE_URL_FILE={path}\n", "utf-8")
    loaded = read_settings(environ={"DATABASE_URL": "sqlite:///plain"})
    assert str(loaded.settings.members[0].backend_url()) == "sqlite:///plain"


def test_a_dotenv_value_is_never_changed(folder: Path) -> None:
    """Dollars and quotes stay as they are; a value that refers to another one is refused."""
    env = folder / ".env"
    env.write_text("MYSQL_DATABASE=d\nexport MYSQL_PASSWORD='a$b $HOME #\\x'\n", "utf-8")
    loaded = read_settings(environ={})
    assert loaded.settings.members[0].backend_url().password == "a$b $HOME #\\x"
    env.write_text("PROMPT=${X}\nMYSQL_DATABASE=d\nMYSQL_PASSWORD='a${HOME}b'\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"MYSQL_PASSWORD in \.env refers"):
        read_settings(environ={})
    loaded = read_settings(environ={"MYSQL_PASSWORD": "a${HOME}b"})
    assert loaded.settings.members[0].backend_url().password == "a${HOME}b"


# --- modes ----------------------------------------------------------------------------------------


def test_a_secret_file_for_everybody_is_refused_in_production(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Mode 644 is refused in production and warned of elsewhere; mode 600 is neither."""
    path = secret(folder / "url", URL, 0o644)
    text = refused(DATABASE_URL_FILE=path, HEALTHSTORE_PROFILE="production")
    assert path in text
    assert not caplog.records
    read(DATABASE_URL_FILE=path)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert path in record.getMessage()
    caplog.clear()
    secret(folder / "url", URL, 0o640)
    assert read(DATABASE_URL_FILE=path, HEALTHSTORE_PROFILE="production").settings.members
    assert not caplog.records


def test_secrets_that_an_orchestrator_mounts_are_accepted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under /run/secrets a file that everybody in the container can read is accepted."""
    assert Path("/run/secrets") in variables_module._MOUNTS
    monkeypatch.setattr(variables_module, "_MOUNTS", (folder,))
    path = secret(folder / "url", URL, 0o444)
    assert read(DATABASE_URL_FILE=path, HEALTHSTORE_PROFILE="production").settings.members


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", f"DATABASE_URL={URL}\n"),
        ("healthstore.toml", f"[[members]]\nurl = '{URL}'\n"),
        ("healthstore.toml", "[[members]]\nurl = 'mysql://u@h/d'\npassword = 'x'\n"),
    ],
)
def test_a_file_of_settings_with_a_secret_is_guarded_in_production(
    folder: Path, name: str, text: str
) -> None:
    """A file that holds a password itself must not be readable by everybody in production."""
    secret(folder / name, text, 0o644)
    assert read_settings(environ={}).settings.members
    with pytest.raises(ConfigurationError, match=f"can read the secret in {name}"):
        read_settings(environ={}, profile="production")
    secret(folder / name, text, 0o600)
    assert read_settings(environ={}, profile="production").settings.members


def test_a_file_that_only_refers_to_a_secret_is_open_to_all(folder: Path) -> None:
    """A file without a secret of its own may have any mode."""
    text = "[[members]]\nurl = 'mysql://u:${PASSWORD}@h/d'\n"
    secret(folder / "healthstore.toml", text, 0o644)
    environ = {"PASSWORD": "x", "HEALTHSTORE_PROFILE": "production"}
    assert read_settings(environ=environ).settings.members
    with pytest.raises(ConfigurationError, match="can read the secret in"):
        read_settings(
            environ={
                "PASSWORD_FILE": secret(folder / "x", "x", 0o644),
                "HEALTHSTORE_PROFILE": "production",
            }
        )


# --- the canary -----------------------------------------------------------------------------------


def views(loaded: Loaded) -> str:
    """Return everything that loaded settings show of themselves."""
    settings = loaded.settings
    return " ".join(
        [
            *(str(each) for each in (loaded, settings, *settings.members)),
            *(repr(each) for each in (loaded, settings, *settings.members)),
            *(f"{each.backend_url()} {each.backend_url()!r}" for each in settings.members),
            pformat(loaded),
            str(settings.model_dump()),
            settings.model_dump_json(),
            str(masked(settings)),
            str({name: str(each) for name, each in loaded.origins.items()}),
        ]
    )


SOURCES: Mapping[str, Callable[[Path, str], Loaded]] = {
    "DATABASE_URL": lambda _, text: read(DATABASE_URL=f"mysql://u:{text}@h/d?timeout=3"),
    "HEALTHSTORE_PRIMARY": lambda _, text: read(HEALTHSTORE_PRIMARY=f"mongodb://u:{text}@h/d"),
    "HEALTHSTORE_SECONDARIES": lambda _, text: read(
        HEALTHSTORE_PRIMARY="memory://", HEALTHSTORE_SECONDARIES=f"mysql://u:{text}@h/d"
    ),
    "MONGODB_URI": lambda _, text: read(MONGODB_URI=f"mongodb://u:{text}@h/d"),
    "POSTGRES_PASSWORD": lambda _, text: read(POSTGRES_DB="d", POSTGRES_PASSWORD=text),
    "MYSQL_PASSWORD": lambda _, text: read(MYSQL_DATABASE="d", MYSQL_PASSWORD=text),
    "DB_PASSWORD": lambda _, text: read(
        DB_TYPE="postgresql", DB_NAME="d", DB_HOST="h", DB_USER="u", DB_PASSWORD=text
    ),
    "HEALTHSTORE_MEMBERS": lambda _, text: read(
        HEALTHSTORE_PRIMARY="mysql://u@h/d", HEALTHSTORE_MEMBERS__MYSQL__PASSWORD=text
    ),
    "a secret file": lambda folder, text: read(
        MYSQL_DATABASE="d", MYSQL_PASSWORD_FILE=secret(folder / "x", text, 0o644)
    ),
    ".env": lambda folder, text: read_settings(
        environ={}, dotenv=secret(folder / "x.env", f"DATABASE_URL=mysql://u:{text}@h/d\n")
    ),
    "healthstore.toml": lambda folder, text: read_settings(
        environ={"X": text},
        dotenv=None,
        file=secret(folder / "x.toml", "[[members]]\nurl = 'mysql://u:${X}@h/d'"),
    ),
    "an argument": lambda _, text: read_settings(
        environ={}, dotenv=None, overrides={"members": [{"url": "mysql://u@h/d", "password": text}]}
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_secret_from_any_source_is_seen_nowhere(
    folder: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No view of the settings and no log shows the secret, but the backend gets it."""
    caplog.set_level(logging.DEBUG)
    loaded = SOURCES[source](folder, CANARY)
    assert loaded.settings.members[-1].backend_url().password == CANARY
    assert CANARY not in views(loaded) + caplog.text
    assert pickle.loads(pickle.dumps(loaded.settings)) == loaded.settings  # noqa: S301 - just made


# Parts of an address: not secret, and shown as such.
ADDRESS = {
    *(f"{kind}_{part}" for kind in ("DB", "MYSQL", "POSTGRES") for part in ("HOST", "USER")),
    *("DB_NAME", "MYSQL_DATABASE", "POSTGRES_DATABASE", "POSTGRES_DB", "SQLITE_PATH"),
}
ALL = (
    *sorted(NAMES - ADDRESS),
    *(
        f"HEALTHSTORE_{name}"
        for name in (
            "PRIMARY",
            "SECONDARIES",
            "PROFILE",
            "MOCK",
            "SLOW_SECONDS",
            "POOL__MAX_SIZE",
            "FAILOVER__MODE",
            "PROBE__JITTER",
            "MEMBERS__MAIN__URL",
            "MEMBERS__MAIN__PASSWORD",
            "MEMBERS__MAIN__TLS",
            "MEMBERS__MAIN__READ_ONLY",
            "MEMBERS__OTHER__TIMEOUT",
            "NOWHERE",
        )
    ),
)
SHAPES = (
    "{}",
    "postgresql://u:{}/x@h/d",
    "postgresql://u:{}@h:port/d",
    "postgresql:/u:{}@h/d",
    "postgresql://u:p@h/d?sslmode={}",
)


@pytest.mark.parametrize("name", ALL)
def test_a_secret_in_the_wrong_variable_is_seen_nowhere(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever variable holds it in whatever shape, no error and no log shows the secret."""
    for shape in SHAPES:
        environ = {"HEALTHSTORE_MEMBERS__MAIN__URL": "mysql://u:pw@h/d", name: shape.format(CANARY)}
        try:
            shown = str(masked(read(**environ).settings))
        except ConfigurationError as error:
            shown = f"{error} {error!r} {vars(error)} {error.__context__!r}"
        assert CANARY not in shown, shape
    assert CANARY not in caplog.text


def test_variables_do_not_show_what_they_hold() -> None:
    """The values on their way to the settings are not in any representation."""
    variables = Variables.of_environment({"X": CANARY})
    given = variables.get("X")
    assert given is not None
    assert CANARY not in f"{variables!r} {given!r} {given} {Variable(CANARY, given.origin)!r}"
