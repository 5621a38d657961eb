"""Patches: fields are set and numbers incremented, atomically and exactly."""

from __future__ import annotations

import math
import random
import sys
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    DuplicateKeyError,
    InvalidRequestError,
    NotNullError,
    Outcome,
    OutOfRangeError,
    RefusedValueError,
    UnknownFieldError,
)
from healthstore.model.ops import Patch, Patches
from healthstore.model.values import Value
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    PEOPLE,
    add,
    every_row,
    everything,
    exact,
    identity,
    ids,
    one,
    person,
    stored,
    typed,
)

__all__ = ("TestPatches",)

LARGEST = sys.float_info.max
# Each: a field, what is stored, the step, and their sum.
SUMS: tuple[tuple[str, Value, Value, Value], ...] = (
    ("number", 5, 3, 8),
    ("number", 5, -8, -3),
    ("number", 2**53, 1, 2**53 + 1),
    ("number", 2**63 - 2, 1, 2**63 - 1),
    ("number", -(2**63) + 1, -1, -(2**63)),
    ("number", -(2**63), 2**63 - 1, -1),
    ("ratio", 0.1, 0.2, 0.1 + 0.2),
    ("ratio", 0.1, -0.1, 0.0),
    ("ratio", 1e300, 1.0, 1e300),
    # Rounded, these are the greatest float still; from half of its last place on they are infinite.
    ("ratio", 4.2e-10, LARGEST, LARGEST),
    ("ratio", math.nextafter(2.0**970, 0.0), LARGEST, LARGEST),
    ("ratio", LARGEST, math.nextafter(2.0**970, 0.0), LARGEST),
    ("ratio", -4.2e-10, -LARGEST, -LARGEST),
    ("price", Decimal("0.1"), Decimal("0.2"), Decimal("0.3000")),
    ("price", Decimal("-0.0001"), Decimal("0.0001"), Decimal("0.0000")),
    ("price", Decimal(99_999_999), Decimal("0.9999"), Decimal("99999999.9999")),
    (
        "amount",
        Decimal("123456789012345678.0123456789"),
        Decimal("0.0000000001"),
        Decimal("123456789012345678.0123456790"),
    ),
    (
        "amount",
        Decimal("-999999999999999999.9999999998"),
        Decimal("-0.0000000001"),
        Decimal("-999999999999999999.9999999999"),
    ),
    ("span", timedelta(microseconds=1), timedelta(days=1), timedelta(days=1, microseconds=1)),
    ("span", timedelta(0), timedelta(microseconds=-1), timedelta(microseconds=-1)),
)
# Each: a field, what is stored, and a step that leaves the range of the field.
OVERFLOWS: tuple[tuple[str, Value, Value], ...] = (
    ("number", 2**63 - 1, 1),
    ("number", -(2**63), -1),
    ("number", 2**63 - 1, 2**63 - 1),
    ("ratio", LARGEST, LARGEST),
    ("ratio", LARGEST, 2.0**970),
    ("ratio", 2.0**970, LARGEST),
    ("ratio", -(2.0**970), -LARGEST),
    ("price", Decimal("99999999.9999"), Decimal("0.0001")),
    ("price", Decimal("-99999999.9999"), Decimal("-0.0001")),
    ("amount", Decimal("999999999999999999.9999999999"), Decimal("0.0000000001")),
    ("span", timedelta(microseconds=2**63 - 1), timedelta(microseconds=1)),
)

RAISED = (("version", 1),)


class TestPatches(Contract):
    """A patch changes what it names and nothing else."""

    @proves("W2")
    async def test_a_patch_sets_what_it_names(self, store: Backend) -> None:
        """The named fields change, the others stay; the document comes back as it is then."""
        row = person(1, name="Ann", team="a", profile={"a": [1]})
        await add(store, PEOPLE, row)
        profile: Value = {"b": 2}
        sets = (("name", None), ("profile", profile), ("version", 2))
        (after,) = await store.execute(Patch(PEOPLE, ids([row]), sets=sets))
        assert after == {**row, "name": None, "profile": {"b": 2}, "version": 2}
        assert await stored(store, PEOPLE) == [after]

    @proves("W1", "W2")
    async def test_a_patch_that_changes_nothing_still_answers(self, store: Backend) -> None:
        """Setting the value that is there returns the document; a missing id gives None."""
        row = person(1, name="Ann")
        await add(store, PEOPLE, row)
        assert await store.execute(Patch(PEOPLE, ids([row]), sets=(("name", "Ann"),))) == (row,)
        assert await store.execute(Patch(PEOPLE, (uuid4(),), sets=(("name", "Ann"),))) == (None,)
        assert await stored(store, PEOPLE) == [row]

    @proves("V6", "V7")
    @pytest.mark.parametrize(("field", "start", "step", "total"), SUMS)
    async def test_an_increment_is_exact(
        self, store: Backend, field: str, start: Value, step: Value, total: Value
    ) -> None:
        """The sum is what Python computes, in the field's type and with its places."""
        row = everything(**{field: start})
        await add(store, EVERYTHING, row)
        (after,) = await store.execute(Patch(EVERYTHING, ids([row]), increments=((field, step),)))
        assert after is not None
        assert typed(after[field]) == typed(total)
        assert exact(await one(store, EVERYTHING, row)) == exact({**row, field: total})

    async def test_increments_add_up_without_drift(self, store: Backend) -> None:
        """A hundred increments of a tenth are ten, exactly."""
        row = everything(price=Decimal(0), amount=Decimal(0), number=0)
        await add(store, EVERYTHING, row)
        step = Decimal("0.1")
        patch = Patch(
            EVERYTHING,
            ids([row]),
            increments=(("price", step), ("amount", step), ("number", -1)),
        )
        for _ in range(100):
            await store.execute(patch)
        after = await one(store, EVERYTHING, row)
        assert after is not None
        assert (after["price"], after["amount"], after["number"]) == (10, 10, -100)

    @proves("A1")
    @pytest.mark.parametrize(("field", "start", "step"), OVERFLOWS)
    async def test_an_increment_out_of_range_changes_nothing(
        self, store: Backend, field: str, start: Value, step: Value
    ) -> None:
        """A sum that the type cannot hold is an error; the document stays as it was."""
        row = everything(**{field: start})
        await add(store, EVERYTHING, row)
        patch = Patch(EVERYTHING, ids([row]), (("text", "changed"),), ((field, step),))
        with pytest.raises(OutOfRangeError) as error:
            await store.execute(patch)
        assert (error.value.entity, error.value.field) == ("Everything", field)
        assert error.value.outcome is Outcome.NOT_APPLIED
        assert await stored(store, EVERYTHING) == [row]

    @proves("A2")
    @pytest.mark.parametrize("field", ["number", "ratio", "price", "amount", "span"])
    async def test_an_increment_of_nothing_is_refused(self, store: Backend, field: str) -> None:
        """A field without a value cannot be incremented, and nothing else is changed."""
        row = everything()
        await add(store, EVERYTHING, row)
        step: Value = timedelta(1) if field == "span" else 1
        patch = Patch(EVERYTHING, ids([row]), (("text", "changed"),), ((field, step),))
        with pytest.raises(NotNullError) as error:
            await store.execute(patch)
        assert (error.value.entity, error.value.field) == ("Everything", field)
        assert error.value.hint
        assert await stored(store, EVERYTHING) == [row]

    @proves("A3", "W2")
    async def test_sets_and_increments_go_together(self, store: Backend) -> None:
        """One patch may set some fields and increment others."""
        row = person(1, number=4)
        await add(store, PEOPLE, row)
        increments = (("visits", 1), ("number", -2), ("version", 1))
        (after,) = await store.execute(Patch(PEOPLE, ids([row]), (("name", "Ann"),), increments))
        assert after == {**row, "name": "Ann", "visits": 1, "number": 2, "version": 2}
        assert await stored(store, PEOPLE) == [after]

    async def test_a_patch_without_meaning_is_refused(self, store: Backend) -> None:
        """A field is changed once, an id never; only numbers are incremented."""
        row = person(1)
        await add(store, PEOPLE, row)
        mine = ids([row])
        for wrong, kind in (
            (Patch(PEOPLE, mine), InvalidRequestError),
            (Patch(PEOPLE, mine, sets=(("id", uuid4()),)), InvalidRequestError),
            (Patch(PEOPLE, mine, (("visits", 1),), (("visits", 1),)), InvalidRequestError),
            (Patch(PEOPLE, mine, increments=(("name", 1),)), InvalidRequestError),
            (Patch(PEOPLE, mine, increments=(("visits", 1.5),)), RefusedValueError),
            (Patch(PEOPLE, mine, increments=(("visit", 1),)), UnknownFieldError),
            (Patch(PEOPLE, mine, sets=(("name", "x"),), versions=(1, 1)), InvalidRequestError),
        ):
            with pytest.raises(kind):
                await store.execute(wrong)
        assert await stored(store, PEOPLE) == [row]

    @proves("W7")
    @needs_transactions
    async def test_many_documents_are_patched_at_once(self, store: Backend) -> None:
        """600 documents are changed by one request; each answer stands at its id's place."""
        people = [person(number, id=identity(number), visits=number) for number in range(600)]
        await add(store, PEOPLE, *people)
        asked = (*reversed(ids(people)), uuid4())
        patch = Patch(PEOPLE, asked, (("name", "x"),), (("visits", 1), ("version", 1)))
        after = await store.execute(patch)
        wanted = [
            {**row, "name": "x", "visits": number + 1, "version": 2}
            for number, row in enumerate(people)
        ]
        assert list(after) == [*reversed(wanted), None]
        assert await stored(store, PEOPLE) == wanted

    @proves("A1", "A2", "W6")
    @needs_transactions
    async def test_a_patch_of_many_is_kept_whole_or_not_at_all(self, store: Backend) -> None:
        """When one document cannot be changed, no other one is."""
        people = [person(number, id=identity(number)) for number in range(5)]
        people[3]["visits"] = 2**63 - 1
        people[4]["number"] = 1
        await add(store, PEOPLE, *people)
        for op, kind in (
            (Patch(PEOPLE, ids(people), increments=(("visits", 1),)), OutOfRangeError),
            (Patch(PEOPLE, ids(people), increments=(("number", 1),)), NotNullError),
        ):
            with pytest.raises(kind):
                await store.execute(op)
            assert await stored(store, PEOPLE) == people

    @needs_transactions
    async def test_patches_that_go_together_are_as_each_alone(self, store: Backend) -> None:
        """Each sets values of every kind in a document of its own, and returns it as it is then."""
        rows = every_row(40)
        await add(store, EVERYTHING, *rows)
        names = [name for name in EVERYTHING.names if name not in {"id", "version"}]
        wanted = [
            {**row, **{name: other[name] for name in names}, "version": 2}
            for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)
        ]
        patches = [
            Patch(EVERYTHING, ids([row]), tuple((name, row[name]) for name in names), RAISED)
            for row in wanted
        ]
        chance = random.Random(7)  # noqa: S311 - no secret
        order = chance.sample(range(len(patches)), len(patches))
        op = Patches(EVERYTHING, tuple(patches[place] for place in order))
        results = await store.execute(op)
        for place, result in zip(order, results, strict=True):
            assert result is not None
            assert exact(result[0]) == exact(wanted[place])
        assert [exact(row) for row in await stored(store, EVERYTHING)] == list(map(exact, wanted))

    @needs_transactions
    @pytest.mark.parametrize(("field", "start", "step", "total"), SUMS)
    async def test_increments_that_go_together_are_exact(
        self, store: Backend, field: str, start: Value, step: Value, total: Value
    ) -> None:
        """The sum is what one by itself returns, and what is stored."""
        rows = [everything(**{field: start}) for _ in range(2)]
        await add(store, EVERYTHING, *rows)
        steps = ((field, step),)
        patches = tuple(Patch(EVERYTHING, ids([row]), increments=steps) for row in rows)
        for row, result in zip(
            rows, await store.execute(Patches(EVERYTHING, patches)), strict=True
        ):
            assert result is not None
            assert exact(result[0]) == exact({**row, field: total})
            assert exact(await one(store, EVERYTHING, row)) == exact({**row, field: total})

    @needs_transactions
    async def test_of_patches_that_go_together_each_has_its_own_answer(
        self, store: Backend
    ) -> None:
        """One that must be asked by itself has none, and changes nothing; the others are stored."""
        people = [person(number, id=identity(number)) for number in range(4)]
        people[3]["number"] = 1
        await add(store, PEOPLE, *people)
        first, second, third, fourth = ids(people)

        def raised(one: UUID, version: int) -> Patch:
            return Patch(PEOPLE, (one,), (("name", "x"),), RAISED, versions=(version,))

        asked = (raised(third, 1), raised(first, 7), raised(uuid4(), 1), raised(second, 1))
        results = await store.execute(Patches(PEOPLE, asked))
        changed = [{**row, "name": "x", "version": 2} for row in people]
        assert results == ((changed[2],), None, None, (changed[1],))
        # One after the other, where several are of one document.
        again = (raised(third, 2), raised(third, 2), raised(third, 3))
        results = await store.execute(Patches(PEOPLE, again))
        assert results == (({**changed[2], "version": 3},), None, ({**changed[2], "version": 4},))
        counted = tuple(
            Patch(PEOPLE, (one,), increments=(("number", 1), ("visits", 1)))
            for one in (first, fourth, fourth)
        )
        results = await store.execute(Patches(PEOPLE, counted))
        twice = [{**people[3], "number": number, "visits": number - 1} for number in (2, 3)]
        assert results == (None, (twice[0],), (twice[1],))
        last = {**changed[2], "version": 4}
        assert await stored(store, PEOPLE) == [people[0], changed[1], last, twice[1]]

    @needs_transactions
    async def test_patches_that_go_together_are_refused_together(self, store: Backend) -> None:
        """A unique key that is taken, or a sum out of range, is an error that leaves all as it was."""
        people = [person(number, id=identity(number)) for number in range(4)]
        people[2]["visits"] = 2**63 - 1
        await add(store, PEOPLE, *people)
        taken = tuple(
            Patch(PEOPLE, ids([row]), (("email", f"{number}@example.org"),))
            for row, number in zip(people[1:], (7, 0, 9), strict=True)
        )
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Patches(PEOPLE, taken))
        assert error.value.outcome is Outcome.NOT_APPLIED
        assert error.value.fields == ("email",)
        assert await stored(store, PEOPLE) == people
        steps = tuple(Patch(PEOPLE, ids([row]), increments=(("visits", 1),)) for row in people)
        with suppress(OutOfRangeError):  # or the one has no answer
            results = await store.execute(Patches(PEOPLE, steps))
            assert [result is not None for result in results] == [True, True, False, True]
        assert await one(store, PEOPLE, people[2]) == people[2]

    @needs_transactions
    async def test_patches_go_together_in_a_unit(self, store: Backend) -> None:
        """They are seen inside, and go with it when it is rolled back."""
        people = [person(number, id=identity(number)) for number in range(3)]
        await add(store, PEOPLE, *people)
        unit = await store.begin()
        named = tuple(Patch(PEOPLE, ids([row]), (("name", "x"),)) for row in people)
        results = await unit.execute(Patches(PEOPLE, named))
        assert results == tuple(({**row, "name": "x"},) for row in people)
        assert await stored(unit, PEOPLE) == [{**row, "name": "x"} for row in people]
        await unit.rollback()
        assert await stored(store, PEOPLE) == people

    @needs_transactions
    async def test_patches_that_cannot_go_together_are_refused(self, store: Backend) -> None:
        """There is at least one, each of one document, and all change the same fields."""
        row = person(1)
        await add(store, PEOPLE, row, person(2))
        named = Patch(PEOPLE, ids([row]), (("name", "x"),))
        for wrong in (
            (),
            (named, Patch(PEOPLE, ids([row]), (("team", "x"),))),
            (named, Patch(PEOPLE, ids([row]), (("name", "x"),), versions=(1,))),
            (Patch(PEOPLE, (*ids([row]), uuid4()), (("name", "x"),)),),
            (Patch(EVERYTHING, ids([row]), (("text", "x"),)),),
        ):
            with pytest.raises(InvalidRequestError):
                await store.execute(Patches(PEOPLE, wrong))
        assert await one(store, PEOPLE, row) == row
