"""One set of options works for every member."""

from __future__ import annotations

import pytest

from healthstore.abc import BackendURL, Host
from healthstore.abc.options import common_options
from healthstore.abc.registry import connect
from healthstore.abc.tls import Tls, default_tls, read_tls
from healthstore.adapters.mongo.options import read_url
from healthstore.errors import Condition, ConfigurationError

EVERY = "pool_size=3&acquire_timeout=2&connect_timeout=1.5&timeout=7&tls=off&tls_ca="
MEMBERS = (
    "memory://",
    "sqlite:///x.db",
    "postgresql://u@h/d",
    "mysql://u@h/d",
    "mariadb://u@h/d",
    "mongodb://h/d",
)


@pytest.mark.parametrize("url", MEMBERS)
def test_one_set_of_options_works_everywhere(url: str) -> None:
    """Switching by one variable takes the options along."""
    connect(BackendURL.parse(f"{url}?{EVERY}"))


@pytest.mark.parametrize("url", MEMBERS)
@pytest.mark.parametrize(
    "option",
    ["pool_size=0", "pool_size=x", "timeout=0", "connect_timeout=-1", "tls=maybe", "tsl=off"],
)
def test_a_mistaken_option_is_refused_everywhere(url: str, option: str) -> None:
    """Where an option has no effect, its mistakes are named all the same."""
    with pytest.raises(ConfigurationError) as error:
        connect(BackendURL.parse(f"{url}?{option}"))
    assert option.partition("=")[0] in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("/run/postgresql", True),
        ("db.example.org", False),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound to it
    ],
)
def test_other_machines_are_verified_unless_the_url_says_otherwise(name: str, local: bool) -> None:  # noqa: FBT001 - a row
    """Plain text is the default on this machine only."""
    assert Host(name).local is local
    url = BackendURL("postgresql", hosts=(Host(name),))
    assert default_tls(url) is (Tls.OFF if local else Tls.VERIFY)
    assert common_options(url)["tls"][1] is default_tls(url)


def test_one_remote_host_among_local_ones_is_verified() -> None:
    """The default is that of the farthest host."""
    url = BackendURL.parse("mongodb://127.0.0.1,db.example.org/d")
    assert default_tls(url) is Tls.VERIFY
    assert default_tls(BackendURL.parse("postgresql:///d")) is Tls.OFF


def test_libpq_s_variable_counts_as_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver reads it, so that a URL without hosts may lead to another machine."""
    monkeypatch.delenv("PGHOST", raising=False)
    assert tls_of("postgresql:///d") is None
    monkeypatch.setenv("PGHOST", "db.example.org")
    assert tls_of("postgresql:///d") is not None


def tls_of(url: str) -> object:
    """Return what an SQL adapter gives its driver."""
    return vars(connect(BackendURL.parse(url)))["_tls"]


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        ("verify", Tls.VERIFY),
        ("encrypt", Tls.ENCRYPT),
        ("off", Tls.OFF),
        ("true", Tls.VERIFY),
        ("on", Tls.VERIFY),
        ("false", Tls.OFF),
        ("disable", Tls.OFF),
        ("require", Tls.ENCRYPT),
        ("verify-ca", Tls.VERIFY),
        ("verify-full", Tls.VERIFY),
    ],
)
def test_native_spellings_keep_their_meaning(text: str, tls: Tls) -> None:
    """None of them is weaker here than where it comes from."""
    assert read_tls(text) is tls


def test_native_options_are_taken_and_ours_wins() -> None:
    """``sslmode`` and ``ssl`` work as before; a stated ``tls`` decides."""
    assert tls_of("postgresql://h/d?sslmode=disable") is None
    assert tls_of("postgresql://h/d?sslmode=prefer") == "prefer"
    assert tls_of("postgresql://h/d?sslmode=disable&tls=verify") is not None
    assert tls_of("mysql://h/d?ssl=false") is None
    assert tls_of("mysql://127.0.0.1/d?ssl=true") is not None
    assert tls_of("mysql://127.0.0.1/d") is None


def test_mongodb_gets_the_same_in_its_own_words() -> None:
    """Its driver takes no context, but the same decisions."""

    def arguments(url: str) -> dict[str, object]:
        found = read_url(BackendURL.parse(url)).arguments
        return {name: value for name, value in found.items() if name.startswith("tls")}

    assert arguments("mongodb://h/d") == {"tls": True}
    assert arguments("mongodb://127.0.0.1/d") == {"tls": False}
    assert arguments("mongodb://h/d?tls=false") == {"tls": False}
    assert arguments("mongodb://127.0.0.1/d?tls=true") == {"tls": True}
    assert arguments("mongodb://h/d?tls=encrypt") == {
        "tls": True,
        "tlsAllowInvalidCertificates": True,
    }
    assert arguments("mongodb://127.0.0.1/d?tlsCAFile=/x") == {"tls": True, "tlsCAFile": "/x"}
    assert read_url(BackendURL.parse("mongodb://h/d?pool_size=3")).arguments["maxPoolSize"] == 3


@pytest.mark.parametrize("url", MEMBERS[2:])
def test_a_missing_authority_is_named_at_once(url: str) -> None:
    """Not at the first connection, and without the path."""
    with pytest.raises(ConfigurationError) as error:
        connect(BackendURL.parse(f"{url}?tls_ca=/no/such/secret-path.pem"))
    assert error.value.condition is Condition.MISCONFIGURED
    assert "secret-path" not in str(error.value)
