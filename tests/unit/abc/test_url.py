"""URLs: parsed by us, and their secrets are never shown."""

from __future__ import annotations

import copy
import pprint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import BackendURL, Host
from healthstore.abc.registry import connect
from healthstore.errors import ConfigurationError

SECRET = "s3cr3t-77231977"  # a password that must never be seen

PARSED = {
    "memory://": BackendURL("memory"),
    "sqlite:///app.db": BackendURL("sqlite", database="app.db"),
    "sqlite:////srv/app.db": BackendURL("sqlite", database="/srv/app.db"),
    "SQLite:///app.db": BackendURL("sqlite", database="app.db"),
    "postgresql+asyncpg://u:p@h:5433/d?ssl=on&x=": BackendURL(
        "postgresql", "asyncpg", (Host("h", 5433),), "u", "p", "d", {"ssl": "on", "x": ""}
    ),
    "mysql://u%40x:p%2F%3A%40@h/d%20b": BackendURL(
        "mysql", hosts=(Host("h"),), user="u@x", password="p/:@", database="d b"
    ),
    "mongodb://a:1,b:2,[::1]:3/d": BackendURL(
        "mongodb", hosts=(Host("a", 1), Host("b", 2), Host("::1", 3)), database="d"
    ),
    "mongodb+srv://h/d": BackendURL("mongodb", "srv", (Host("h"),), database="d"),
    "postgresql://u@h": BackendURL("postgresql", hosts=(Host("h"),), user="u"),
    "postgresql://u:@h/d": BackendURL(
        "postgresql", hosts=(Host("h"),), user="u", password="", database="d"
    ),
    "postgresql://[::1]/d": BackendURL("postgresql", hosts=(Host("::1"),), database="d"),
}


@pytest.mark.parametrize("text", PARSED)
def test_a_url_is_taken_apart(text: str) -> None:
    """Scheme, driver, hosts, credentials, database and options are found and unquoted."""
    assert BackendURL.parse(text) == PARSED[text]


MALFORMED = (
    "",
    "app.db",
    f"://{SECRET}",
    f"postgresql:/u:{SECRET}@h/d",
    f"postgresql://u:{SECRET}/x@h/d",
    f"postgresql://u:{SECRET}@h:port/d",
    f"postgresql://u:{SECRET}@h:0/d",
    f"postgresql://u:{SECRET}@h:65536/d",
    f"postgresql://u:{SECRET}:5432/d",
    f"postgresql://u:p@h:{SECRET}/d",
    f"postgresql://u:p@{SECRET}:x:1/d",
)


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_url_is_refused_without_quoting_it(text: str) -> None:
    """The error says how to write it, and holds no part of a URL that may be a secret."""
    with pytest.raises(ConfigurationError) as refused:
        BackendURL.parse(text)
    error = refused.value
    assert error.hint
    assert SECRET not in str(error) + repr(error) + repr(vars(error))
    assert error.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///a\0b.db",
        "sqlite:///a%00b.db",
        f"postgresql://u:{SECRET}\n@h/d",
        f"postgresql://u:{SECRET}%0A@h/d",
        "postgresql://u@h\t/d",
        "postgresql://u@h/d?timeout=3%0d",
    ],
)
def test_a_control_character_in_a_url_is_refused(text: str) -> None:
    """A NUL or a line end, encoded or not, is an error of ours and never a driver's."""
    with pytest.raises(ConfigurationError, match="control character") as refused:
        BackendURL.parse(text)
    assert refused.value.hint
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("text", [" sqlite:///app.db", "sqlite:///app.db\n", "\tsqlite:///app.db "])
def test_white_space_around_a_url_is_stripped(text: str) -> None:
    """A copied line end does not become a part of a file's name."""
    assert BackendURL.parse(text) == BackendURL("sqlite", database="app.db")


@pytest.mark.parametrize("host", ["http%3A%2F%2Fh", "h%2Fevil", "h x", "h%23", "a%40b"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    """Only a name, an address or the path of a socket is a host."""
    with pytest.raises(ConfigurationError, match="no host name"):
        BackendURL.parse(f"postgresql://{host}/d")


@pytest.mark.parametrize("password", ["a?b", "a/b", "5?b", "12/b"])
def test_a_hint_names_every_character_to_encode(password: str) -> None:
    """A password that was not encoded is refused, whatever cuts it, and never shown in part."""
    with pytest.raises(ConfigurationError) as refused:
        BackendURL.parse(f"postgresql://u:{password}{SECRET}@h/d")
    for each in ("%2F", "%3F", "%23", "%40", "%3A", "%25"):
        assert each in refused.value.hint
    assert SECRET not in str(refused.value)


@given(st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    """Any text is parsed or refused with an error of ours."""
    for url in (text, f"postgresql://{text}", f"postgresql://u:{text}@h/d"):
        try:
            parsed = BackendURL.parse(url)
        except ConfigurationError:
            continue
        assert parsed.scheme


def test_no_view_of_a_url_shows_its_password() -> None:
    """Neither str, repr, a format nor a pretty print shows the password or an option's value."""
    url = BackendURL.parse(f"postgresql://ann:{SECRET}@h:1/d?token={SECRET}")
    shown = [str(url), repr(url), f"{url}", f"{url!r}", pprint.pformat(url), repr(copy.copy(url))]
    assert SECRET not in "".join(shown)
    assert str(url) == "postgresql://ann:***@h:1/d"
    assert str(BackendURL.parse("postgresql://ann@h/d")) == "postgresql://ann@h/d"


def test_options_are_read_by_name_and_type() -> None:
    """Known options are converted, absent ones have their default."""
    url = BackendURL.parse("memory://?size=5")
    assert url.read_options({"size": (int, 1), "wait": (int, 2)}) == {"size": 5, "wait": 2}


def test_a_wrong_option_is_refused_without_its_value() -> None:
    """An unknown option gets a suggestion; text that cannot be read is not quoted."""
    with pytest.raises(ConfigurationError) as refused:
        BackendURL.parse(f"memory://?sise={SECRET}").read_options({"size": (int, 1)})
    assert "'size'" in refused.value.hint
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        BackendURL.parse("memory://?colour=1").read_options({"size": (int, 1)})
    assert "size" in refused.value.hint
    with pytest.raises(ConfigurationError) as refused:
        BackendURL.parse(f"memory://?size={SECRET}").read_options({"size": (int, 1)})
    assert SECRET not in str(refused.value)
    assert refused.value.__suppress_context__


def test_an_unknown_scheme_gets_a_suggestion() -> None:
    """A misspelt scheme is refused with the nearest one, any other with the list of them."""
    with pytest.raises(ConfigurationError) as refused:
        connect(BackendURL.parse(f"postgresqll://u:{SECRET}@h/d"))
    assert "'postgresql'" in refused.value.hint
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        connect(BackendURL.parse("xyz://h/d"))
    assert "sqlite" in refused.value.hint


def test_a_memory_url_has_no_server() -> None:
    """A host or a database in a memory URL is a mistake that is named."""
    for text in ("memory://host", "memory:///database"):
        with pytest.raises(ConfigurationError) as refused:
            connect(BackendURL.parse(text))
        assert refused.value.hint
    assert connect(BackendURL.parse("memory://"), "mine").name == "mine"
