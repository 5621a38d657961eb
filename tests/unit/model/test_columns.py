"""Rows that are converted together are what they are one by one."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.model.columns import at_places, columns_of, converted
from healthstore.model.values import from_microseconds, to_microseconds, uuid_of, uuids_of

INSTANTS = st.integers(-(10**15), 10**15)
ROWS = st.lists(
    st.tuples(
        st.binary(min_size=16, max_size=16),
        st.text(max_size=3),
        st.none() | st.binary(min_size=16, max_size=16),
        st.none() | INSTANTS,
    ),
    max_size=40,
)
CONVERTERS = at_places((uuid_of, None, uuid_of, from_microseconds))


def one_by_one(row: tuple[object, ...]) -> list[object]:
    """Return a row with each value converted by itself."""
    found = list(row)
    for place, convert in CONVERTERS:
        if found[place] is not None:
            found[place] = convert(found[place])
    return found


@given(ROWS)
def test_many_rows_are_converted_as_one_by_one(rows: list[tuple[object, ...]]) -> None:
    """Few or many, with None or without: each value is what its own converter makes of it."""
    wanted = [one_by_one(row) for row in rows]
    assert [list(row) for row in converted(rows, CONVERTERS)] == wanted
    if rows:
        assert [list(row) for row in zip(*columns_of(rows, CONVERTERS), strict=True)] == wanted


def test_uuids_of_a_column_are_plain_ones() -> None:
    """They are equal to, and of the same class and hash as, those that Python makes."""
    made = [UUID(int=number) for number in (0, 1, 2**128 - 1)]
    (*found, nothing) = uuids_of([*(each.bytes for each in made), None])
    assert nothing is None
    assert found == made
    assert {type(each) for each in found} == {UUID}
    assert list(map(hash, found)) == list(map(hash, made))
    assert [each and each.is_safe for each in found] == [each.is_safe for each in made]


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_uuid_of_another_size_is_refused(size: int) -> None:
    """What is no UUID is never read as one."""
    with pytest.raises(ValueError, match="UUID"):
        uuids_of([bytes(16), bytes(size)])


@given(INSTANTS)
def test_an_instant_is_its_microseconds(microseconds: int) -> None:
    """No microsecond is lost on the way to an instant and back."""
    assert to_microseconds(from_microseconds(microseconds)) == microseconds


@pytest.mark.parametrize("microseconds", [-62135596800_000_000, 253402300799_999_999])
def test_the_ends_of_time_are_instants(microseconds: int) -> None:
    """Also the first and the last microsecond that Python has."""
    assert to_microseconds(from_microseconds(microseconds)) == microseconds
