"""Variables of our own: members, settings of members, the policy, and what is misspelt."""

from __future__ import annotations

import logging

import pytest

from healthstore.config import Loaded, read_settings
from healthstore.errors import ConfigurationError
from healthstore.routing.policy import FailoverMode, Mock


def read(**environ: str) -> Loaded:
    """Read variables, whose names get the prefix, and nothing else."""
    own = {f"HEALTHSTORE_{name}": value for name, value in environ.items()}
    return read_settings(environ=own, dotenv=None)


def urls(loaded: Loaded) -> dict[str, str]:
    """Return the members by name."""
    return {each.name: str(each.backend_url()) for each in loaded.settings.members}


def refused(**environ: str) -> str:
    """Return the error of variables that are refused."""
    with pytest.raises(ConfigurationError) as error:
        read(**environ)
    assert error.value.hint
    return str(error.value)


def test_a_primary_and_its_secondaries_are_members_in_order() -> None:
    """A comma between URLs separates them, a comma between the hosts of one does not."""
    loaded = read(
        PRIMARY="postgresql://a/d", SECONDARIES="mongodb://a:1,b:2/d, sqlite:///x.db,sqlite:///y,z"
    )
    assert urls(loaded) == {
        "postgresql": "postgresql://a/d",
        "mongodb": "mongodb://a:1,b:2/d",
        "sqlite": "sqlite:///x.db",
        "sqlite-2": "sqlite:///y,z",
    }


def test_secondaries_follow_the_primary_of_another_source() -> None:
    """Without HEALTHSTORE_PRIMARY they replace the rest after the first member that is named."""
    loaded = read_settings(
        environ={
            "HEALTHSTORE_SECONDARIES": "sqlite:///x.db",
            "DATABASE_URL": "postgresql://a/d",
            "MYSQL_DATABASE": "d",
        },
        dotenv=None,
    )
    assert list(urls(loaded)) == ["postgresql", "sqlite"]
    assert "HEALTHSTORE_SECONDARIES" in refused(SECONDARIES="sqlite:///x.db")


def test_secondaries_are_urls() -> None:
    """Something else in the list is refused, without being shown."""
    text = refused(PRIMARY="memory://", SECONDARIES="77231977")
    assert "HEALTHSTORE_SECONDARIES" in text
    assert "77231977" not in text


def test_policy_and_pool_are_set_by_nested_names() -> None:
    """Two underscores stand for the dot of the file's tables."""
    loaded = read(
        PRIMARY="mysql://h/d",
        SECONDARIES="memory://",
        PROFILE="test",
        MOCK="reads",
        POOL__MAX_SIZE="7",
        POOL__TIMEOUT="2.5",
        FAILOVER__MODE="standby_readonly",
        PROBE__INTERVAL="1",
        PROBE__FALL="5",
        SLOW_SECONDS="0.25",
    )
    settings = loaded.settings
    assert settings.profile == "test"
    assert settings.policy.mock is Mock.READS
    assert settings.policy.mode is FailoverMode.STANDBY_READONLY
    assert (settings.policy.probe.interval, settings.policy.probe.fall) == (1.0, 5)
    assert {(each.pool_size, each.timeout, each.slow_seconds) for each in settings.members} == {
        (7, 2.5, 0.25)
    }
    assert str(loaded.origins["probe.fall"]) == "environment variable HEALTHSTORE_PROBE__FALL"
    assert str(loaded.origins["probe.rise"]) == "default"


def test_a_url_and_a_member_go_before_the_pool_of_all() -> None:
    """What a member's URL says itself, also in its driver's words, is not overruled by default."""
    loaded = read(
        PRIMARY="mysql://h/d?pool_size=3",
        SECONDARIES="mongodb://h/d?maxPoolSize=4",
        POOL__MAX_SIZE="9",
    )
    options = [dict(each.backend_url().options) for each in loaded.settings.members]
    assert options == [{"pool_size": "3"}, {"maxPoolSize": "4"}]


def test_members_are_named_set_and_put_first_by_variables() -> None:
    """HEALTHSTORE_MEMBERS__NAME__* make and change members; HEALTHSTORE_PRIMARY may be a name."""
    loaded = read(
        MEMBERS__EU__URL="postgresql://eu/d",
        MEMBERS__EU__PASSWORD="p@/:%",
        MEMBERS__US__URL="postgresql://us/d",
        MEMBERS__US__READ_ONLY="true",
        PRIMARY="us",
    )
    us, eu = loaded.settings.members
    assert (us.name, us.read_only) == ("us", True)
    assert (eu.name, eu.backend_url().password) == ("eu", "p@/:%")


def test_the_first_of_several_members_is_never_a_guess() -> None:
    """Variables have no order: several members without HEALTHSTORE_PRIMARY are refused."""
    members = {"MEMBERS__A__URL": "memory://", "MEMBERS__B__URL": "memory://"}
    assert "HEALTHSTORE_PRIMARY" in refused(**members)
    text = refused(**members, PRIMARY="c-77231977")
    assert "a, b" in text
    assert "77231977" not in text


def test_a_setting_of_a_member_that_is_not_there_is_refused() -> None:
    """The error names the variable and the nearest member."""
    text = refused(PRIMARY="postgresql://h/d", MEMBERS__POSTGRSQL__TIMEOUT="3")
    assert "HEALTHSTORE_MEMBERS__POSTGRSQL__TIMEOUT" in text
    assert "did you mean 'postgresql'" in text


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"MOCK": "77231977"}, ("mock must be 'off', 'reads' or 'on'", "HEALTHSTORE_MOCK")),
        ({"PROFILE": "77231977"}, ("'production'", "HEALTHSTORE_PROFILE")),
        ({"POOL__MAX_SIZE": "x77231977"}, ("pool.max_size", "HEALTHSTORE_POOL__MAX_SIZE")),
        ({"PROBE__INTERVAL": "-77231977"}, ("probe.interval", "HEALTHSTORE_PROBE__INTERVAL")),
        ({"FAILOVER__MODE": "77231977"}, ("failover.mode", "HEALTHSTORE_FAILOVER__MODE")),
        (
            {"MEMBERS__MEMORY__TIMEOUT": "77231977"},
            ("'timeout' must be", "memory", "HEALTHSTORE_MEMBERS__MEMORY__TIMEOUT"),
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_variable(
    environ: dict[str, str], told: tuple[str, ...]
) -> None:
    """The error names the setting and the variable, and does not show the value."""
    text = refused(**{"PRIMARY": "memory://", **environ})
    assert all(each in text for each in told), text
    assert "77231977" not in text


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("HEALTHSTORE_PRIMRY", "HEALTHSTORE_PRIMARY"),
        ("HEALTHSTORE_POOL__MAXSIZE", "HEALTHSTORE_POOL__MAX_SIZE"),
        ("HEALTHSTORE_MEMBERS__EU__TIMOUT", "HEALTHSTORE_MEMBERS__EU__TIMEOUT"),
    ],
)
def test_a_misspelt_variable_is_warned_of(
    name: str, suggested: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown HEALTHSTORE_* name is logged with the nearest one, without its value."""
    environ = {"HEALTHSTORE_PRIMARY": "memory://", name: "77231977"}
    read_settings(environ=environ, dotenv=None)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert name in record.getMessage()
    assert f"did you mean {suggested}?" in record.getMessage()
    assert "77231977" not in record.getMessage()


def test_names_of_tests_and_the_demo_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Variables of other programs of ours are not warned of."""
    others = {"TEST_MYSQL_URL": "x", "DEMO_URLS": "y", "DATA": "z"}
    assert read(PRIMARY="memory://", **others).settings.members
    assert not caplog.records


def test_an_empty_variable_is_not_set() -> None:
    """``X=`` means nothing, as where a compose file passes on what is not there."""
    loaded = read(PRIMARY="memory://", MOCK="", SECONDARIES="", PRIMARY_FILE="")
    assert list(urls(loaded)) == ["memory"]


def test_a_seed_is_the_name_of_a_function() -> None:
    """Whether it is there is known when it is called; what is no such name is refused at once."""
    assert read(PRIMARY="sqlite:///x.db").settings.seed is None
    loaded = read(PRIMARY="sqlite:///x.db", SEED="app.seeds:run")
    assert loaded.settings.seed == "app.seeds:run"
    assert loaded.origins["seed"].text == "environment variable HEALTHSTORE_SEED"
    for wrong in ("seeds", "seeds:", ":run", "app..seeds:run", "app/seeds.py:run", "a:b:c"):
        told = refused(PRIMARY="sqlite:///x.db", SEED=wrong)
        assert "seed names no function" in told
        assert "HEALTHSTORE_SEED" in told
