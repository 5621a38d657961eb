"""Many at once: what is sent in parts is one write, and no limit of a server is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, collection_of
from healthstore.errors import (
    ConfigurationError,
    DuplicateKeyError,
    InvalidRequestError,
    Outcome,
    OutOfRangeError,
    StaleVersionError,
)
from healthstore.model.ops import (
    CountDocuments,
    Delete,
    Ensure,
    Get,
    Insert,
    Op,
    Patch,
    Replace,
)
from healthstore.model.query import F
from healthstore.model.schema import Collection, Field, Index, Unique
from healthstore.model.values import Document, FieldType, Kind
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.testing.contract._samples import PEOPLE, add, identity, ids, person, stored

__all__ = ("TestMany",)

_ID, _VERSION = Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER))
_EMOJI = "\U0001f600"  # four bytes
# Fields of a document: FerretDB, unless it is set otherwise, checks about 100.
_WIDE, _ROWS = 90, 1_300


class _Item(Entity, collection="contract_items"):
    name: Annotated[str, MaxLength(20)] = ""


def _wide() -> Collection:
    fields = (Field(f"number_{at}", FieldType(Kind.INTEGER)) for at in range(_WIDE))
    return Collection(f"made_{uuid4().hex[:12]}", (_ID, _VERSION, *fields), entity="Wide")


def _keyed(*lengths: int | None, key: Callable[..., Unique | Index] = Unique) -> Collection:
    """Return a collection with a key over texts of these lengths."""
    fields = tuple(
        Field(f"part_{at}", FieldType(Kind.TEXT, max_length=length))
        for at, length in enumerate(lengths)
    )
    made = key(*(each.name for each in fields))
    return Collection(
        f"made_{uuid4().hex[:12]}",
        (_ID, _VERSION, *fields),
        uniques=(made,) if isinstance(made, Unique) else (),
        indexes=(made,) if isinstance(made, Index) else (),
        entity="Long",
    )


class TestMany(Contract):
    """Requests of many documents mean what requests of one mean, all at once."""

    @proves("W5")
    @pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 977), (998, 999)])
    async def test_an_id_that_comes_twice_is_told_by_both_places(
        self, store: Backend, first: int, second: int
    ) -> None:
        """In every request of many, before any I/O, and whatever else is the same."""
        await store.execute(Ensure((PEOPLE,)))
        people = [person(at, id=identity(at)) for at in range(1_000)]
        await store.execute(Insert(PEOPLE, (people[first],)))
        people[second] = {**people[second], "id": people[first]["id"]}
        twice = ids(people)
        requests: tuple[Op[object], ...] = (
            Insert(PEOPLE, tuple(people)),
            Insert(PEOPLE, tuple(people), atomic=False),
            Replace(PEOPLE, tuple(people)),
            Patch(PEOPLE, twice, sets=(("visits", 7),)),
            Delete(PEOPLE, twice),
        )
        for op in requests:
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(op)
            assert f"{first} and {second} " in error.value.message
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert error.value.hint
        assert await store.execute(CountDocuments(PEOPLE, F.visits == 0)) == 1

    @proves("W5")
    async def test_an_entity_that_is_added_twice_is_told_by_both_places(
        self, store: Backend
    ) -> None:
        """Two objects with one id are two writes of one document."""
        await store.execute(Ensure((collection_of(_Item),)))
        items = Repository(_Item, store)
        many = [_Item(name=f"{at}") for at in range(5)]
        many[4] = many[1].model_copy(update={"name": "again"})
        with pytest.raises(InvalidRequestError) as error:
            await items.add_many(many, mode="best_effort")
        assert "1 and 4 " in error.value.message
        assert await items.count() == 0

    @proves("W6", "W7")
    @needs_transactions
    async def test_what_is_sent_in_parts_is_one_write(self, store: Backend) -> None:
        """The last of 2,500 documents refuses all: added, replaced, patched and removed."""
        people = [person(at, id=identity(at)) for at in range(2_500)]
        people[-1]["visits"] = 2**63 - 1
        extra = person(9_999, id=identity(9_999))
        await store.execute(Ensure((PEOPLE,)))
        await store.execute(Insert(PEOPLE, (*people, extra)))
        before = await stored(store, PEOPLE)
        fresh = [person(10_000 + at, id=identity(10_000 + at)) for at in range(2_500)]
        fresh[-1]["email"] = people[0]["email"]
        replaced = [{**row, "name": "x", "version": 2} for row in people]
        replaced[-1]["email"] = extra["email"]
        versions = (*(1,) * 2_499, 5)
        requests: tuple[tuple[Op[object], type[Exception]], ...] = (
            (Insert(PEOPLE, tuple(fresh)), DuplicateKeyError),
            (Replace(PEOPLE, tuple(replaced)), DuplicateKeyError),
            (Patch(PEOPLE, ids(people), increments=(("visits", 1),)), OutOfRangeError),
            (Delete(PEOPLE, ids(people), versions), StaleVersionError),
        )
        for op, kind in requests:
            with pytest.raises(kind):
                await store.execute(op)
            assert await stored(store, PEOPLE) == before

    @proves("W6", "W7")
    @needs_transactions
    async def test_more_than_a_message_holds_is_one_write(self, store: Backend) -> None:
        """Twenty MiB that end with a key that is taken leave nothing; without it, all is there."""
        large = "x'\\😀" * 75_000  # half a MiB
        people = [person(at, id=identity(at), profile={"text": large}) for at in range(40)]
        await add(store, PEOPLE, person(7_000, id=identity(7_000)))
        wrong = {**people[-1], "email": "7000@example.org"}
        with pytest.raises(DuplicateKeyError):
            await store.execute(Insert(PEOPLE, (*people[:-1], wrong)))
        assert await store.execute(CountDocuments(PEOPLE)) == 1
        assert await store.execute(Insert(PEOPLE, tuple(people))) == 40
        (last,) = await store.execute(Get(PEOPLE, (identity(39),)))
        assert last == people[39]

    @proves("W7")
    @needs_transactions
    async def test_more_values_than_a_statement_takes_are_written(self, store: Backend) -> None:
        """117,000 values in one request: added, replaced, read by id and patched."""
        wide = _wide()
        await store.execute(Ensure((wide,)))
        names = wide.names[2:]
        rows: list[Document] = [
            {"id": identity(at), "version": 1, **dict.fromkeys(names, at)} for at in range(_ROWS)
        ]
        assert await store.execute(Insert(wide, tuple(rows))) == _ROWS
        changed = [{**row, **dict.fromkeys(names, -1 - at)} for at, row in enumerate(rows)]
        assert await store.execute(Replace(wide, tuple(changed))) == (True,) * _ROWS
        assert await store.execute(Get(wide, ids(changed))) == tuple(changed)
        sets = tuple((name, 7) for name in names)
        after = await store.execute(Patch(wide, ids(rows), sets=sets))
        assert list(after) == [{**row, **dict(sets)} for row in rows]
        assert await store.execute(CountDocuments(wide, F[names[-1]] == 7)) == _ROWS

    @proves("W8")
    @pytest.mark.parametrize("lengths", [(640,), (320, 320), (160,) * 4, (40,) * 16])
    async def test_the_longest_key_is_kept_whole(
        self, store: Backend, lengths: tuple[int, ...]
    ) -> None:
        """Of one text or of sixteen, as a key and as an index, to the last code point of each."""
        for key in (Unique, Index):
            things = _keyed(*lengths, key=key)
            full: Document = {
                "id": uuid4(),
                "version": 1,
                **{f"part_{at}": _EMOJI * length for at, length in enumerate(lengths)},
            }
            await add(store, things, full)
            last = f"part_{len(lengths) - 1}"
            other = {**full, "id": uuid4(), last: _EMOJI * (lengths[-1] - 1) + "\U0001f601"}
            await store.execute(Insert(things, (other,)))
            if key is Unique:
                for row in (full, other):
                    with pytest.raises(DuplicateKeyError) as error:
                        await store.execute(Insert(things, ({**row, "id": uuid4()},)))
                    assert error.value.fields == things.uniques[0].fields
            assert await stored(store, things, F[last] == full[last]) == [full]

    @proves("W8")
    async def test_a_longer_key_is_refused_where_it_is_defined(self, store: Backend) -> None:
        """With a hint, and before any store is asked; so are kinds that no key holds."""
        for lengths in ((641,), (None,), (320, 321), (161, 160, 160, 160), (40,) * 17):
            for key in (Unique, Index):
                with pytest.raises(ConfigurationError) as error:
                    _keyed(*lengths, key=key)
                assert error.value.entity == "Long"
        for kind in (Kind.JSON, Kind.BYTES):
            plain = Collection("made_odd", (_ID, _VERSION, Field("a", FieldType(kind))))
            with pytest.raises(ConfigurationError):
                replace(plain, uniques=(Unique("a"),))
        assert await store.execute(Ensure(())) is not None
