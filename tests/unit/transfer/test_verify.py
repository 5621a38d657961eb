"""Verification: what is equal is called equal, and each difference is named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.transfer.samples import PEOPLE, READINGS, identity, opened, person, tasks

from healthstore.errors import ConfigurationError, VerificationError
from healthstore.model.ops import Delete, Insert, Patch
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind
from healthstore.transfer import (
    Change,
    Finished,
    Mismatch,
    PageMoved,
    TransferEvent,
    Verified,
    verify,
)


@given(st.sets(st.integers(0, 400)), st.sets(st.integers(0, 400)), st.sets(st.integers(0, 400)))
@settings(deadline=None, max_examples=60)
async def test_every_difference_is_counted_and_named(
    left: set[int], right: set[int], changed: set[int]
) -> None:
    """Missing, extra and changed documents are exactly those of the two sets."""
    one = await opened("one", (PEOPLE, [person(number) for number in sorted(left)]))
    rows = [
        {**person(number), "email": f"other{number}"} if number in changed else person(number)
        for number in sorted(right)
    ]
    report = await verify(one, await opened("other", (PEOPLE, rows)))
    (found,) = report.collections
    both = left & right & changed
    assert found.missing_count == len(left - right)
    assert found.extra_count == len(right - left)
    assert found.changed_count == len(both)
    assert found.missing == tuple(map(identity, sorted(left - right)[:100]))
    assert found.extra == tuple(map(identity, sorted(right - left)[:100]))
    assert found.changed == tuple(
        Change(identity(number), ("email",)) for number in sorted(both)[:100]
    )
    assert found.equal == report.equal == (left == right and not both)
    assert (found.left_rows, found.right_rows) == (len(left), len(right))


async def test_a_difference_is_raised_only_on_demand() -> None:
    """The report is returned; ``require`` raises, with counts and without values."""
    rows = [person(number) for number in range(50)]
    one, other = await opened("one", (PEOPLE, rows)), await opened("other", (PEOPLE, rows))
    (await verify(one, other)).require()
    await other.execute(Delete(PEOPLE, (identity(3),)))
    await other.execute(Insert(PEOPLE, (person(100), person(101))))
    await other.execute(Patch(PEOPLE, (identity(4),), (("email", "secret@example.org"),)))
    report = await verify(one, other)
    with pytest.raises(VerificationError, match="1 missing, 2 extra, 1 changed") as error:
        report.require()
    assert "secret" not in str(error.value)
    assert not tasks()


async def test_collections_of_either_side_are_compared() -> None:
    """A collection that one store does not have is a difference."""
    one = await opened("one", (PEOPLE, [person(1)]), (READINGS, []))
    other = await opened("other", (PEOPLE, [person(1)]))
    report = await verify(one, other)
    assert [str(each) for each in report.collections] == [
        "people: equal",
        "readings: not there on the right",
    ]
    assert not report.equal
    assert "not there on the left" in str((await verify(other, one)).collections[1])
    assert (await verify(one, other, ["people"])).equal
    assert not (await verify(one, await opened("empty"))).equal


async def test_another_definition_is_a_difference() -> None:
    """Documents of two definitions are not compared: the report says how those differ."""
    wider = Collection(
        "people", (*PEOPLE.fields, Field("age", FieldType(Kind.INTEGER), nullable=True))
    )
    one = await opened("one", (PEOPLE, [person(1)]))
    other = await opened("other", (wider, [{**person(1), "age": None}]))
    (found,) = (await verify(one, other)).collections
    assert not found.equal
    assert found.definition[0] == "field age is new"
    assert (found.left_rows, found.right_rows) == (1, 1)


async def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    """A misspelt collection is no difference but a mistake."""
    one, other = await opened("one", (PEOPLE, [])), await opened("other", (PEOPLE, []))
    with pytest.raises(ConfigurationError, match="did you mean 'people'"):
        await verify(one, other, ["peple"])


async def test_events_tell_what_was_compared() -> None:
    """Each collection ends with Verified or Mismatch."""
    rows = [person(number) for number in range(50)]
    one = await opened("one", (PEOPLE, rows), (READINGS, []))
    other = await opened("other", (PEOPLE, rows[1:]), (READINGS, []))
    events: list[TransferEvent] = []
    await verify(one, other, on_event=events.append)
    assert [each.collection for each in events if isinstance(each, Mismatch)] == ["people"]
    assert [each.collection for each in events if isinstance(each, Verified)] == ["readings"]
    assert sum(each.rows for each in events if isinstance(each, PageMoved)) == 50
    assert isinstance(events[-1], Finished)
