"""Faults that could never strike are refused: a test that plans one would prove nothing."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.errors import ConfigurationError, UnavailableError
from healthstore.testing.faults import Faults


class User(Entity, collection="users"):
    name: Annotated[str, MaxLength(40)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("times", 0),
        ("times", -1),
        ("times", True),
        ("times", 1.5),
        ("after", -1),
        ("after", None),
        ("error", "x"),
        ("error", ValueError()),
        ("error", UnavailableError),
        ("collection", ""),
        ("collection", 7),
        ("collection", dict),
        ("member", ""),
        ("member", " "),
        ("member", 7),
    ],
)
def test_a_fault_that_can_never_strike_is_refused_at_once(name: str, value: object) -> None:
    """The error names what is wrong and says what it must be; nothing is planned."""
    faults = Faults()
    given: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=repr(name)) as refused:
        faults.fail("insert", **given)
    assert refused.value.hint.startswith(f"{name} must be")
    assert faults.due(frozenset({"insert"}), frozenset({"users"}), "memory") == []


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), True])
def test_a_delay_that_is_no_time_is_refused(seconds: float) -> None:
    """A delay is a finite number of seconds."""
    with pytest.raises(ConfigurationError, match="seconds"):
        Faults().delay("find", seconds=seconds)


async def test_a_fault_for_a_member_that_there_is_not_is_refused_at_the_first_operation() -> None:
    """A misspelt member does not leave a test green; it is told with the nearest name."""
    faults = Faults()
    async with DatabaseManager("memory://", layers=[faults.layer]) as db:
        await db.initialize(User)
        planned = faults.fail("insert", member="memroy", times=None)
        with pytest.raises(ConfigurationError, match="'memroy'") as refused:
            await db.repository(User).add(User(name="x"))
        assert "'memory'" in refused.value.hint
        faults.clear(planned)
        await db.repository(User).add(User(name="x"))


async def test_a_member_may_be_named_before_its_manager_is_built() -> None:
    """A fault that is planned first strikes the member that comes later."""
    faults = Faults()
    fault = faults.fail("insert", member="later", times=None)
    async with DatabaseManager(members={"later": "memory://"}, layers=[faults.layer]) as db:
        await db.initialize(User)
        with pytest.raises(UnavailableError):
            await db.repository(User).add(User(name="x"))
    assert fault.struck


async def test_a_misspelt_member_is_told_when_a_manager_is_opened() -> None:
    """A plan that was made before the manager is checked as soon as it opens."""
    faults = Faults()
    faults.down("memroy")
    with pytest.raises(ConfigurationError, match="'memroy'"):
        async with DatabaseManager("memory://", layers=[faults.layer]):
            pass
