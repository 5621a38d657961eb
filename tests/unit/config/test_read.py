"""Sources: which goes before which, what the file may say, and where each value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from healthstore.config import Loaded, Profile, read_settings
from healthstore.errors import ConfigurationError
from healthstore.routing.policy import FailoverMode, Mock

TOML = """
profile = "test"
mock = "on"
slow_seconds = 2

[[members]]
name = "main"
url = "postgresql://app:${DB_PASSWORD}@db/app"
pool_size = 3

[[members]]
url = "sqlite:///standby.db"

[pool]
timeout = 9

[failover]
mode = "standby_readonly"

[probe]
interval = 5

[profiles.production]
mock = "off"
probe.interval = 1

[[profiles.production.members]]
name = "eu"
url = "${DATABASE_OF_EU}"
"""
DB = {"DB_PASSWORD": "p@/:%", "DATABASE_OF_EU": "mysql://u:p%40@eu/d"}


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Loaded:
    """Write the text to ``healthstore.toml`` and read the settings."""
    (folder / "healthstore.toml").write_text(text, "utf-8")
    return read_settings(environ=environ or {})


def urls(loaded: Loaded) -> dict[str, str]:
    """Return the members by name."""
    return {each.name: str(each.backend_url()) for each in loaded.settings.members}


def refused(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the error of a file that is refused."""
    with pytest.raises(ConfigurationError) as error:
        read(folder, text, environ)
    assert error.value.hint
    return str(error.value)


def test_the_file_says_everything(folder: Path) -> None:
    """Members in order, the policy, what holds for all; variables are put in where it says so."""
    loaded = read(folder, TOML, DB)
    settings = loaded.settings
    main, standby = settings.members
    assert settings.profile is Profile.TEST
    assert settings.policy.mock is Mock.ON
    assert settings.policy.mode is FailoverMode.STANDBY_READONLY
    assert settings.policy.probe.interval == 5.0
    assert (main.name, main.pool_size, main.timeout) == ("main", 3, 9.0)
    assert main.backend_url().password == "p@/:%"
    assert (standby.name, standby.slow_seconds) == ("sqlite", 2.0)


def test_a_profile_goes_before_the_rest_of_the_file(folder: Path) -> None:
    """Its tables are merged deeply, its members replace all others, and variables choose it."""
    for loaded in (
        read(
            folder,
            TOML.replace("standby_readonly", "none"),
            DB | {"HEALTHSTORE_PROFILE": "production"},
        ),
        read_settings(profile="production", environ=DB),
    ):
        assert urls(loaded) == {"eu": "mysql://u:***@eu/d"}
        assert loaded.settings.policy.mock is Mock.OFF
        assert loaded.settings.policy.probe.interval == 1.0
        assert loaded.settings.members[0].timeout == 9.0
        place = "healthstore.toml [profiles.production]"
        assert str(loaded.origins["mock"]) == place
        assert (
            str(loaded.origins["probe.interval"]) == "healthstore.toml [profiles.production.probe]"
        )
        assert str(loaded.origins["members.eu.timeout"]) == "healthstore.toml [pool]"
        assert str(loaded.origins["members.eu.url"]) == (
            "healthstore.toml [[profiles.production.members]] "
            "with environment variable DATABASE_OF_EU"
        )


def test_each_source_goes_before_the_next(folder: Path) -> None:
    """Argument, HEALTHSTORE_*, other names, .env, healthstore.toml, default: in this order."""

    def member(environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> str:
        loaded = read_settings(environ=environ, overrides=overrides)
        (found,) = loaded.settings.members
        return f"{found.backend_url()} from {loaded.origins[f'members.{found.name}.url']}"

    (folder / "pyproject.toml").write_text('[tool.healthstore]\nmembers = ["sqlite:///1"]\n')
    assert member({}) == "sqlite:///1 from pyproject.toml [[members]]"
    (folder / "healthstore.toml").write_text('members = ["sqlite:///2"]\n')
    assert member({}) == "sqlite:///2 from healthstore.toml [[members]]"
    (folder / ".env").write_text("DATABASE_URL=sqlite:///3\n")
    assert member({}) == "sqlite:///3 from DATABASE_URL in .env"
    (folder / ".env").write_text("DATABASE_URL=sqlite:///3\nHEALTHSTORE_PRIMARY=sqlite:///4\n")
    assert member({}) == "sqlite:///4 from HEALTHSTORE_PRIMARY in .env"
    environ = {"DATABASE_URL": "sqlite:///5"}
    assert member(environ) == "sqlite:///5 from environment variable DATABASE_URL"
    environ["HEALTHSTORE_PRIMARY"] = "sqlite:///6"
    assert member(environ) == "sqlite:///6 from environment variable HEALTHSTORE_PRIMARY"
    overrides = {"members": ["sqlite:///7"]}
    assert member(environ, overrides) == "sqlite:///7 from argument members"


def test_settings_are_merged_one_by_one_across_sources(folder: Path) -> None:
    """A higher source that sets one value leaves the others of the same table as they are."""
    (folder / ".env").write_text("HEALTHSTORE_PROBE__RISE=4\nSLOW_QUERY_THRESHOLD=100\n")
    environ = DB | {"HEALTHSTORE_PROBE__FALL": "2", "HEALTHSTORE_MEMBERS__MAIN__TIMEOUT": "7"}
    loaded = read(folder, TOML, environ)
    probe = loaded.settings.policy.probe
    assert (probe.interval, probe.rise, probe.fall) == (5.0, 4, 2)
    assert [each.timeout for each in loaded.settings.members] == [7.0, 9.0]
    assert [each.slow_seconds for each in loaded.settings.members] == [0.1, 0.1]


def test_every_value_in_effect_has_an_origin(folder: Path) -> None:
    """Also a default has one, and no origin is of a value that is not in effect."""
    loaded = read(folder, TOML, DB | {"HEALTHSTORE_MOCK": "off"})
    assert str(loaded.origins["mock"]) == "environment variable HEALTHSTORE_MOCK"
    assert str(loaded.origins["failover.drain"]) == "default"
    assert str(loaded.origins["members.sqlite.url"]) == "healthstore.toml [[members]]"
    assert "members.sqlite.password" not in loaded.origins
    with pytest.raises(TypeError):
        loaded.origins["mock"] = loaded.origins["profile"]  # type: ignore[index]  # is tested


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("moc = 1", ("'moc'", "did you mean 'mock'", "healthstore.toml")),
        ("[failover]\nmod = 1", ("'failover.mod'", "'mode'")),
        ("[[members]]\nnmae = 'a'\nurl = 'memory://'", ("members '1'", "'name'")),
        ("[[members]]\nname = 'a'", ("'a'", "no url")),
        ("[members.a]\nurl = 'memory://'", ("'members'", "[[members]]")),
        ("members = [3]", ("members[1]", "a table")),
        ("failover = 3", ("'failover'", "a table")),
        ("profiles = 3", ("'profiles'", "a table")),
        ("[profiles.prodution]", ("'profiles.prodution'", "'production'")),
        ("[profiles.test]\nprofile = 'test'", ("profiles.test", "HEALTHSTORE_PROFILE")),
        ("[profiles.development]\nmoc = 1", ("[profiles.development]", "'mock'")),
        ("a = 1\nb = 77231977 x", ("healthstore.toml", "line 2")),
        ("mock = '77231977'", ("mock must be", "healthstore.toml")),
        ("[[members]]\nurl = 77231977", ("URL", "[[members]]")),
        ("[[members]]\nurl = 'memory://'\npool_size = 'x77231977'", ("'pool_size'", "memory")),
        ("[[members]]\nurl = 'memory://'\nname = ['x']", ("'name'", "[[members]]")),
        (
            "[[members]]\nname = 'a'\nurl = 'memory://'\n[[members]]\nname = 'a'\nurl = 'memory://'",
            ("two members are called 'a'",),
        ),
        ("[[members]]\nname = 'a'\nurl = '${NOWHERE}'", ("members.a.url", "NOWHERE_FILE")),
        ("[[members]]\nurl = 'nonsense77231977'", ("scheme://", "[[members]]")),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(
    folder: Path, text: str, told: tuple[str, ...]
) -> None:
    """The error says which key, where, and what was probably meant; never the value."""
    found = refused(folder, text)
    assert all(each in found for each in told), found
    assert "77231977" not in found


def test_a_literal_dollar_can_be_written(folder: Path) -> None:
    """``$${NAME}`` is text, and a dollar alone is a dollar."""
    text = "[[members]]\nurl = 'mysql://u@h/d'\npassword = '$${X}$1'"
    (member,) = read(folder, text).settings.members
    assert member.backend_url().password == "${X}$1"


def test_a_file_that_is_named_must_be_there(folder: Path) -> None:
    """A file that is asked for is not skipped; the one of the folder may be absent."""
    with pytest.raises(ConfigurationError, match=r"other\.toml"):
        read_settings(file="other.toml", environ={})
    with pytest.raises(ConfigurationError, match=r"other\.env"):
        read_settings(dotenv="other.env", environ={})
    (folder / "pyproject.toml").write_text("[tool.other]\n")
    with pytest.raises(ConfigurationError, match="no member"):
        read_settings(environ={})
    (folder / "pyproject.toml").write_text('[tool.healthstore]\nmembers = ["memory://"]\n')
    assert urls(read_settings(file="pyproject.toml", environ={})) == {"memory": "memory:///"}


def test_a_line_of_dotenv_that_cannot_be_parsed_is_named(folder: Path) -> None:
    """The error names the file and the line, and quotes nothing of it."""
    (folder / ".env").write_text(
        "# the store\nDATABASE_URL=sqlite:///a.db\n\nPASSWORD='s3cr3t-77231977\nX=1\n", "utf-8"
    )
    with pytest.raises(ConfigurationError, match=r"line 4 of the file \.env") as refused:
        read_settings(environ={})
    assert refused.value.hint
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("name", ["healthstore.toml", ".env"])
def test_a_file_that_is_no_text_is_refused(folder: Path, name: str) -> None:
    """Bytes that are not UTF-8 end in an error of ours that names the file."""
    (folder / name).write_bytes(b"X='\xff\xfe'")
    with pytest.raises(ConfigurationError, match="UTF-8") as error:
        read_settings(environ={})
    assert name in str(error.value)
    assert error.value.__context__ is None


def test_arguments_have_the_shape_of_the_file() -> None:
    """``overrides`` are checked like the file, and told as arguments."""
    overrides = {"members": [{"name": "a", "url": "memory://"}], "failover": {"drain": 1}}
    loaded = read_settings(environ={}, dotenv=None, overrides=overrides, profile=Profile.TEST)
    assert loaded.settings.policy.drain == 1.0
    assert loaded.settings.profile is Profile.TEST
    assert str(loaded.origins["failover.drain"]) == "argument failover"
    with pytest.raises(ConfigurationError, match="argument"):
        read_settings(environ={}, dotenv=None, overrides={"failovr": {}})


def test_a_reference_matters_only_where_it_is_used(folder: Path) -> None:
    """A member or value that a higher source replaces may refer to what is not set."""
    text = "mock = '${X}'\n[[members]]\nurl = '${X}'\n[profiles.test]\nmembers = ['memory://']\n"
    environ = {"HEALTHSTORE_MOCK": "off"}
    assert "refers to the variable X" in refused(folder, text, environ)
    for loaded in (
        read(folder, text, environ | {"DATABASE_URL": "memory://"}),
        read(folder, text, environ | {"HEALTHSTORE_PROFILE": "test"}),
    ):
        assert urls(loaded) == {"memory": "memory:///"}
