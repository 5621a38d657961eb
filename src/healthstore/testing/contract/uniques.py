"""Unique keys: no two documents share one, and the error names its fields."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import DuplicateKeyError, Outcome
from healthstore.model.ops import Delete, Ensure, Insert, Patch, Replace
from healthstore.model.schema import Collection, Field, Unique
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.contract._promises import Contract, laws, needs_transactions, proves
from healthstore.testing.contract._samples import (
    EDGES,
    KEYED,
    PEOPLE,
    add,
    ids,
    keyed,
    person,
    stored,
)

__all__ = ("TestUniques",)

# Keys whose values try to look like the end of a server's message.
QUOTED = Collection(
    "contract_quoted",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("title", FieldType(Kind.TEXT, max_length=100)),
        Field("device", FieldType(Kind.UUID)),
        Field("code", FieldType(Kind.TEXT, max_length=100)),
        Field("part", FieldType(Kind.UUID)),
    ),
    uniques=(Unique("title"), Unique("device"), Unique("code", "part")),
    entity="Quoted",
)
_NAMES = tuple(QUOTED.index_names)
_FORGED = (
    "",
    *("O'Brien", '5" pizza', "`", "''", "'\"`", "\\'", "a.b'c", "%s%(x)s", "\n'\n", "'PRIMARY'"),
    *(f"x' for key '{name}" for name in _NAMES),
    *(f"x' for key '{name}'" for name in _NAMES),
    *(f"' index: {name} dup key: '" for name in _NAMES),
    *(f'"{name}"' for name in _NAMES),
    "' for key 'PRIMARY'",
    "_id_",
)
TRICKY = st.sampled_from(_FORGED) | st.text("'\"`´‘’“”\\.% :\na", max_size=20)  # noqa: RUF001 - quotes of all kinds
QUOTE_BYTES = st.lists(
    st.sampled_from([*b"\x22\x27\x60\x5c\x00"]) | st.integers(0, 255), min_size=16, max_size=16
)


KEYS = [name for name in KEYED.names if name in EDGES]


class TestUniques(Contract):
    """A unique key is taken by one document."""

    @proves("C11", "T15")
    async def test_a_taken_key_is_refused_by_every_write(self, store: Backend) -> None:
        """Adding, replacing or patching into a taken key fails and changes nothing."""
        row, other = person(1), person(2)
        await add(store, PEOPLE, row, other)
        before = await stored(store, PEOPLE)
        email = row["email"]
        for op in (
            Insert(PEOPLE, (person(3, email=email),)),
            Replace(PEOPLE, ({**other, "email": email},)),
            Patch(PEOPLE, ids([other]), sets=(("email", email), ("visits", 5))),
        ):
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(op)
            assert error.value.fields == ("email",)
            assert (error.value.entity, error.value.field) == ("Person", "email")
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert error.value.hint
            assert await stored(store, PEOPLE) == before

    @proves("T15")
    async def test_a_compound_key_is_taken_as_a_whole(self, store: Backend) -> None:
        """Documents may share a part of a key; the error names all of its fields."""
        people = [person(1, team="a", number=1), person(2, team="a", number=2)]
        people.append(person(3, team="b", number=1))
        await add(store, PEOPLE, *people)
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(PEOPLE, (person(4, team="a", number=2),)))
        assert error.value.fields == ("team", "number")
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Patch(PEOPLE, ids(people[2:]), sets=(("team", "a"),)))
        assert error.value.fields == ("team", "number")

    @proves("C11")
    async def test_a_key_with_a_null_never_collides(self, store: Backend) -> None:
        """Any number of documents may have None in a field of the same key."""
        teams: tuple[tuple[str | None, int | None], ...] = (
            *((None, None), (None, None), ("a", None), ("a", None), (None, 1), (None, 1)),
            ("a", 1),
        )
        people = [person(at, team=team, number=number) for at, (team, number) in enumerate(teams)]
        for row in people:
            await add(store, PEOPLE, row)
        assert len(await stored(store, PEOPLE)) == len(teams)

    @proves("C1", "C2", "C11")
    @pytest.mark.parametrize("field", KEYS)
    async def test_each_kind_makes_a_key(self, store: Backend, field: str) -> None:
        """Every different value of a kind is a different key, and each is taken once."""
        rows = [keyed(**{field: edge}) for edge in EDGES[field]]
        await add(store, KEYED, *rows, keyed(), keyed())
        for edge in EDGES[field]:
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(Insert(KEYED, (keyed(**{field: edge}),)))
            assert error.value.fields == (field,)
        assert len(await stored(store, KEYED)) == len(rows) + 2

    @proves("W8")
    async def test_the_longest_key_counts_to_its_last_character(self, store: Backend) -> None:
        """Keys of 640 wide characters that differ in the last one are different keys."""
        wide = "\U0001f600" * 639
        await add(store, KEYED, keyed(wide=wide + "\U0001f601"), keyed(wide=wide + "\U0001f602"))
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(KEYED, (keyed(wide=wide + "\U0001f601"),)))
        assert error.value.fields == ("wide",)

    async def test_a_freed_key_can_be_taken(self, store: Backend) -> None:
        """A key is free again when its document is removed, changed or emptied."""
        row = person(1, team="a", number=1)
        await add(store, PEOPLE, row)
        await store.execute(Patch(PEOPLE, ids([row]), sets=(("email", "moved"),)))
        second = person(1)
        await store.execute(Insert(PEOPLE, (second,)))
        await store.execute(Delete(PEOPLE, ids([second])))
        await store.execute(Insert(PEOPLE, (person(1),)))
        await store.execute(Patch(PEOPLE, ids([row]), sets=(("team", None),)))
        await store.execute(Insert(PEOPLE, (person(2, team="a", number=1),)))
        assert len(await stored(store, PEOPLE)) == 3

    async def test_a_document_keeps_its_own_key(self, store: Backend) -> None:
        """A document may be written again with the key that it has."""
        row = person(1, team="a", number=1)
        await add(store, PEOPLE, row)
        assert await store.execute(Replace(PEOPLE, ({**row, "version": 2},))) == (True,)
        patch = Patch(PEOPLE, ids([row]), sets=(("email", row["email"]),))
        assert await store.execute(patch) == ({**row, "version": 2},)

    @proves("W6")
    @needs_transactions
    async def test_two_documents_of_one_request_cannot_share_a_key(self, store: Backend) -> None:
        """A key that is taken within a request refuses the request, and nothing is kept."""
        await add(store, PEOPLE, person(1))
        before = await stored(store, PEOPLE)
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(PEOPLE, (person(2), person(3), person(2))))
        assert error.value.fields == ("email",)
        assert await stored(store, PEOPLE) == before

    @proves("T15")
    @laws
    @given(TRICKY, TRICKY, QUOTE_BYTES.map(lambda each: UUID(bytes=bytes(each))))
    @example("O'Brien", '5" pizza', UUID(bytes=b"\x22\x27\x60" * 5 + b"'"))
    async def test_the_error_names_the_key_whatever_its_value(
        self, store: Backend, title: str, code: str, device: UUID
    ) -> None:
        """Quotes in a text, the bytes of quotes in a UUID, or a forged name change nothing."""
        await store.execute(Ensure((QUOTED,)))
        row: Document = {
            "id": uuid4(),
            "version": 1,
            "title": title,
            "device": device,
            "code": code,
            "part": device,
        }
        free: Document = {
            "id": uuid4(),
            "title": f"free {title}",
            "device": uuid4(),
            "part": uuid4(),
        }
        await store.execute(Insert(QUOTED, (row,)))
        try:
            for fields in (("id",), ("title",), ("device",), ("code", "part")):
                clash: Document = {**row, **free, **{name: row[name] for name in fields}}
                with pytest.raises(DuplicateKeyError) as error:
                    await store.execute(Insert(QUOTED, (clash,)))
                assert error.value.fields == fields
        finally:
            await store.execute(Delete(QUOTED, ids([row])))

    async def test_racing_writers_of_one_key_learn_which_it_is(self, store: Backend) -> None:
        """Of many that add the same key at once, one does; the others can take its document."""
        await store.execute(Ensure((QUOTED,)))
        device = UUID(bytes=b"'" * 15 + b"a")
        rows: list[Document] = [
            {
                "id": uuid4(),
                "version": 1,
                "title": f"O'Brien {at}",
                "device": device,
                "code": "'",
                "part": uuid4(),
            }
            for at in range(12)
        ]
        done = await asyncio.gather(
            *(store.execute(Insert(QUOTED, (row,))) for row in rows), return_exceptions=True
        )
        assert done.count(1) == 1
        refused = [each for each in done if isinstance(each, DuplicateKeyError)]
        assert [each.fields for each in refused] == [("device",)] * 11
