"""Settings are checked as a whole before anything is opened."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from healthstore.abc import BackendURL
from healthstore.config import MemberSettings, Profile, Settings, settings_of
from healthstore.config.file import SECTIONS
from healthstore.errors import ConfigurationError
from healthstore.routing.policy import FailoverMode, FailoverPolicy, Mock, Probe

SECRET = "s3cr3t-77231977"  # must never be seen


def refused(**given: Any) -> str:
    """Return the error of settings that are refused."""
    with pytest.raises(ConfigurationError) as error:
        settings_of(**given)
    assert error.value.hint
    return str(error.value)


def member(url: str, **options: Any) -> MemberSettings:
    """Return a member called ``main``."""
    return MemberSettings(name="main", url=SecretStr(url), **options)


def test_members_are_named_by_their_kind_or_by_the_user() -> None:
    """URLs get the name of their kind, with a number where it is taken; named ones come after."""
    settings = settings_of(
        ["sqlite:///a.db", "postgres://h/d", "sqlite:///b.db"],
        {"sqlite-2": "memory://", "eu": "mysql://h/d"},
    )
    names = [each.name for each in settings.members]
    assert names == ["sqlite", "postgresql", "sqlite-3", "sqlite-2", "eu"]
    assert [each.kind for each in settings.members][1] == "postgresql"
    assert settings.profile is Profile.DEVELOPMENT


def test_no_member_is_refused() -> None:
    """Without any member the error says how to give one."""
    assert "HEALTHSTORE_PRIMARY" in refused()


def test_a_name_that_is_taken_is_refused() -> None:
    """Two members with one name, or one with the name of the mock, are refused by that name."""
    one = member("memory://")
    with pytest.raises(ConfigurationError, match="'main'"):
        Settings(members=(one, one))
    assert "'mock'" in refused(members={"mock": "memory://"})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("sqlite:///a.db", "sqlite:///./x/../a.db"),
        ("postgresql://u:p@LocalHost/d", "postgres://v@127.0.0.1:5432/d?timeout=3"),
        ("mysql://h/d", "mariadb+aiomysql://h:3306/d"),
        ("mongodb://a,b:27017/d", "mongodb://b,a:27017/d"),
    ],
)
def test_the_same_database_twice_is_refused(left: str, right: str) -> None:
    """One database written in two ways is found; the error names both members."""
    text = refused(members={"a": left, "b": right})
    assert "'a'" in text
    assert "'b'" in text


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("memory://", "memory://"),
        ("sqlite:///a.db", "sqlite:///b.db"),
        ("postgresql://h/a", "postgresql://h/b"),
        ("postgresql://h/d", "postgresql://h:5433/d"),
        ("postgresql://h/d", "mysql://h/d"),
    ],
)
def test_different_databases_are_two_members(left: str, right: str) -> None:
    """Memory is another store each time; another file, port, name or kind is another store."""
    assert len(settings_of([left, right]).members) == 2


def test_a_misspelt_scheme_gets_a_suggestion() -> None:
    """An unknown scheme is refused at start-up, with the nearest one and without the URL."""
    text = refused(urls=[f"posgresql://u:{SECRET}@h/d"])
    assert "did you mean 'postgresql'" in text
    assert SECRET not in text


def test_production_refuses_what_loses_data() -> None:
    """A mock, or a member that keeps nothing, is refused in production, and only there."""
    policy = FailoverPolicy(mock=Mock.READS)
    given: dict[str, Any] = {"urls": ["sqlite:///a.db"], "policy": policy}
    assert "mock" in refused(**given, profile="production")
    assert settings_of(**given, profile="test").policy is policy
    volatile = ["sqlite:///a.db", "memory://"]
    assert "'memory'" in refused(urls=volatile, profile=Profile.PRODUCTION)
    assert len(settings_of(volatile, profile="development").members) == 2


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    """The error lists the profiles."""
    with pytest.raises(ConfigurationError, match="'production'"):
        settings_of(["memory://"], profile="prod")


def test_a_standby_needs_a_second_member() -> None:
    """``standby_readonly`` with one member is refused."""
    policy = FailoverPolicy(mode=FailoverMode.STANDBY_READONLY)
    assert "standby_readonly" in refused(urls=["memory://"], policy=policy)
    assert settings_of(["memory://", "memory://"], policy=policy).policy is policy


@pytest.mark.parametrize(
    ("probe", "url", "names"),
    [
        (Probe(query_timeout=3), "sqlite:///a.db?timeout=2", ("probe.query_timeout", "'timeout'")),
        (
            Probe(connect_timeout=9),
            "mysql://h/d?connect_timeout=4",
            ("probe.connect_timeout", "'connect_timeout'"),
        ),
    ],
)
def test_a_check_is_not_slower_than_what_it_checks(
    probe: Probe, url: str, names: tuple[str, str]
) -> None:
    """A timeout of the probe above the member's own is refused, naming both."""
    text = refused(urls=[url], policy=FailoverPolicy(probe=probe))
    assert all(name in text for name in names)


def test_options_of_a_member_become_options_of_its_url() -> None:
    """What is set besides the URL is merged into it; what is not set leaves it as it is."""
    url = member(
        "postgresql://u@h/d?pool_size=5&pgbouncer=true",
        pool_size=5,
        acquire_timeout=1.5,
        connect_timeout=2,
        timeout=30,
        tls="verify",
        tls_ca=Path("/etc/ca.pem"),
        password=SecretStr("p@/:%"),
    ).backend_url()
    assert url.password == "p@/:%"
    assert dict(url.options) == {
        "pool_size": "5",
        "acquire_timeout": "1.5",
        "connect_timeout": "2.0",
        "timeout": "30.0",
        "tls": "verify",
        "tls_ca": "/etc/ca.pem",
        "pgbouncer": "true",
    }
    plain = "postgresql://u:p@h/d?timeout=3"
    assert member(plain).backend_url() == BackendURL.parse(plain)


@pytest.mark.parametrize(
    ("url", "options", "names"),
    [
        ("sqlite:///a?timeout=3", {"timeout": 4}, ("'timeout'",)),
        ("sqlite:///a?timeout=soon", {"timeout": 4}, ("'timeout'",)),
        ("postgresql://h/d?sslmode=require", {"tls": "verify"}, ("'sslmode'", "'tls'")),
        ("mongodb://h/d?maxPoolSize=3", {"pool_size": 3}, ("'maxPoolSize'", "'pool_size'")),
        ("mysql://u:one@h/d", {"password": SecretStr("two")}, ("password",)),
    ],
)
def test_an_option_given_twice_is_refused(
    url: str, options: dict[str, Any], names: tuple[str, ...]
) -> None:
    """A setting of which the URL says something else is refused, naming both and the member."""
    with pytest.raises(ConfigurationError) as error:
        member(url, **options).backend_url()
    assert all(name in str(error.value) for name in (*names, "main"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_size": 0}, "'pool_size' must be greater"),
        ({"timeout": float("nan")}, "'timeout' must be a finite number"),
        ({"tls": SECRET}, "'tls' must be 'verify', 'encrypt' or 'off'"),
        ({"pool_sise": SECRET}, "did you mean 'pool_size'"),
        ({"password": [SECRET]}, "'password' must be a valid string"),
        ({"name": f"{SECRET} !"}, "'name'"),
    ],
)
def test_a_wrong_value_is_named_and_never_shown(options: dict[str, Any], message: str) -> None:
    """An error names the setting; neither its text nor its context holds the value."""
    given = {"name": "a", "url": "memory://", **options}
    with pytest.raises(ConfigurationError) as error:
        MemberSettings.model_validate(given)
    assert message in str(error.value)
    assert SECRET not in repr(error.value) + str(error.value)
    assert error.value.__context__ is None
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    "given",
    [
        {"urls": [None]},
        {"urls": [7]},
        {"urls": [b"memory://"]},
        {"urls": "memory://"},
        {"members": {"a": None}},
        {"members": ["memory://"]},
    ],
)
def test_what_is_no_url_is_refused_with_a_hint(given: dict[str, Any]) -> None:
    """A variable that is not set, or a list for a mapping, is an error of configuration."""
    refused(**given)


@pytest.mark.parametrize(
    ("url", "options", "setting"),
    [
        ("sqlite:///a.db", {"password": SecretStr(SECRET)}, "password"),
        (f"sqlite://u:{SECRET}@/a.db", {}, "password"),
        ("sqlite:///a.db", {"tls": "verify"}, "tls"),
        ("sqlite:///a.db", {"tls_ca": Path("ca.pem")}, "tls_ca"),
        ("memory://", {"password": SecretStr(SECRET)}, "password"),
    ],
)
def test_a_store_without_a_server_has_no_password_and_no_tls(
    url: str, options: dict[str, Any], setting: str
) -> None:
    """What looks like protection and is none is refused, without the secret."""
    with pytest.raises(ConfigurationError, match=f"'{setting}' is set, and .* has none") as error:
        Settings(members=(member(url, **options),))
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("text", ["a\0b", "a\n", "\t", "\x7f"])
def test_a_control_character_in_a_password_is_refused(text: str) -> None:
    """No driver gets a line end or a NUL; the error is ours and holds no part of it."""
    with pytest.raises(ConfigurationError, match="control character"):
        member("postgresql://u@h/d", password=SecretStr(text)).backend_url()


def test_settings_do_not_change() -> None:
    """Settings and members are frozen."""
    settings = settings_of(["memory://"])
    with pytest.raises(AttributeError, match="frozen"):
        settings.profile = Profile.TEST  # type: ignore[misc]  # what is tested
    with pytest.raises(AttributeError, match="frozen"):
        settings.members[0].timeout = 3  # type: ignore[misc]  # what is tested


def test_every_part_of_the_policy_can_be_configured() -> None:
    """The tables of the file have the fields and defaults of the policy, and no others."""
    policy = {each.name for each in fields(FailoverPolicy)}
    assert set(SECTIONS["failover"].model_fields) | {"mock", "probe"} == policy
    assert dict(SECTIONS["probe"]()) == {
        each.name: getattr(Probe(), each.name) for each in fields(Probe)
    }


def test_settings_of_urls_do_not_load_what_reads_sources() -> None:
    """A manager that is given URLs does not wait for what reads files."""
    script = "import healthstore.config, sys; healthstore.config.Settings; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"dotenv", "tomllib", "healthstore.config.read"} & set(done.stdout.split())


def test_a_file_is_one_database_under_each_of_its_names(tmp_path: Path) -> None:
    """A hard link is no copy, and a symbolic link is none; a file that is not there is another."""
    file, hard, soft = (tmp_path / name for name in ("app.db", "hard.db", "soft.db"))
    file.touch()
    hard.hardlink_to(file)
    soft.symlink_to(hard)
    for left, right in ((file, hard), (hard, soft), (soft, file)):
        with pytest.raises(ConfigurationError, match="the same database"):
            settings_of([f"sqlite:///{left}", f"sqlite:///{right}"])
    settings_of([f"sqlite:///{file}", f"sqlite:///{tmp_path}/other.db"])
