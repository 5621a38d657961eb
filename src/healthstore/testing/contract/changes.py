"""Changes beyond additive ones: applied where no document stands against them, and dropped parts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    CheckError,
    ConfigurationError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    InvalidRequestError,
    SchemaChangeError,
    SchemaMismatchError,
)
from healthstore.model.catalog import CATALOG
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import (
    Alter,
    Delete,
    Drop,
    Ensure,
    Find,
    Insert,
)
from healthstore.model.query import F, parse_order
from healthstore.model.schema import (
    Check,
    Collection,
    Field,
    Index,
    Reference,
    Unique,
)
from healthstore.model.values import FieldType, Kind, Value, canonicaliser
from healthstore.testing.contract._altered import (
    KEY,
    LABEL,
    NAME,
    NUMBER,
    decimal_of,
    enum_of,
    extreme,
    prepare,
    row_of,
    text_of,
    things,
)
from healthstore.testing.contract._promises import (
    Contract,
    needs_alterations,
    needs_references,
)
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    exact,
    identity,
    stored,
)

__all__ = ("TestChanges",)

# What a field was, what it becomes, values that fit both, and one that only the old form takes.
_NARROWER: dict[str, tuple[Field, Field, tuple[Value, ...], Value]] = {
    "a shorter text": (
        Field("value", text_of(300)),
        Field("value", text_of(10)),
        ("", "a" * 10, "😀" * 10, " "),
        "a" * 11,
    ),
    "a text of some length": (
        Field("value", text_of(None)),
        Field("value", text_of(100)),
        ("", "ä" * 100),
        "a" * 101,
    ),
    "no null": (
        Field("value", text_of(40), nullable=True),
        Field("value", text_of(40)),
        ("a", "b"),
        None,
    ),
    "a member less": (
        Field("value", enum_of("a", "b", "longest")),
        Field("value", enum_of("a", "b")),
        ("a", "b"),
        "longest",
    ),
    "fewer digits": (
        Field("value", decimal_of(16)),
        Field("value", decimal_of(12)),
        extreme(decimal_of(12)),
        Decimal("123456789.0000"),
    ),
    "fewer long digits": (
        Field("value", decimal_of(24)),
        Field("value", decimal_of(20)),
        extreme(decimal_of(20)),
        10 ** Decimal(18) * 1,
    ),
    "digits below nineteen": (
        Field("value", decimal_of(24)),
        Field("value", decimal_of(15)),
        extreme(decimal_of(15)),
        10 ** Decimal(14) * 1,
    ),
    "fewer places": (
        Field("value", decimal_of(12, 4)),
        Field("value", decimal_of(12, 2)),
        tuple(each.quantize(Decimal("0.0001")) for each in extreme(decimal_of(10, 2))),
        Decimal("0.001"),
    ),
    "more places": (
        Field("value", decimal_of(12, 2), nullable=True),
        Field("value", decimal_of(14, 4), nullable=True),
        (*extreme(decimal_of(12, 2)), None),
        Decimal("0.00001"),
    ),
    "more places of many digits": (
        Field("value", decimal_of(18, 2)),
        Field("value", decimal_of(22, 6)),
        extreme(decimal_of(18, 2)),
        Decimal("0.0000001"),
    ),
    "fewer places of many digits": (
        Field("value", decimal_of(22, 6)),
        Field("value", decimal_of(18, 2)),
        tuple(each.quantize(Decimal("0.000001")) for each in extreme(decimal_of(18, 2))),
        Decimal("0.001"),
    ),
    "another type of nulls": (
        Field("value", text_of(40), nullable=True),
        Field("value", NUMBER, nullable=True),
        (None, None),
        "a",
    ),
}
_NEEDS, _LOSES = ChangeEffect.NEEDS_DATA, ChangeEffect.LOSES_DATA


class TestChanges(Contract):
    """Definitions change by more than is additive, where their documents allow it."""

    @pytest.mark.parametrize("how", sorted(_NARROWER))
    @needs_alterations
    async def test_what_no_document_stands_against_is_applied(
        self, store: Backend, how: str
    ) -> None:
        """Stored values stay, in every order and filter, and what is forbidden now is refused."""
        was, now, values, refused = _NARROWER[how]
        before = things(NAME, Field("value", was.type, was.nullable))
        rows = [row_of(at, name=f"n{at}", value=value) for at, value in enumerate(values, 1)]
        await prepare(store, before, *rows)
        after = replace(before, fields=(*before.fields[:3], now))
        assert await store.execute(Alter(before, after, _LOSES))
        canonical = canonicaliser(now.type)
        wanted = [
            {**row, "value": None if row["value"] is None else canonical(row["value"])}
            for row in rows
        ]
        assert list(map(exact, await stored(store, after))) == list(map(exact, wanted))
        for row in wanted:
            if row["value"] is not None:
                found = await store.execute(Find(after, F["value"] == row["value"]))
                assert row["id"] in [each["id"] for each in found]
        ordered = [
            each["value"]
            for each in await store.execute(Find(after, order=parse_order(["value"])))
            if each["value"] is not None
        ]
        assert ordered == sorted(ordered, key=lambda value: cast("str | Decimal", value))
        with pytest.raises(HealthstoreError):
            await store.execute(Insert(after, (row_of(99, name="z", value=refused),)))
        assert (await store.execute(Ensure((after,)))).present == (after.name,)

    @needs_alterations
    async def test_a_key_or_check_that_holds_is_added(self, store: Backend) -> None:
        """From then on what breaks it is refused."""
        before = things(NAME, Field("rank", NUMBER, nullable=True))
        rows = [row_of(at, name=f"n{at}", rank=at % 2 or None) for at in range(1, 5)]
        await prepare(store, before, *rows)
        after = replace(
            before,
            uniques=(Unique("name"), Unique("rank", "name")),
            checks=(Check("low", F.rank < 3),),
        )
        assert await store.execute(Alter(before, after, _NEEDS))
        assert await stored(store, after) == rows
        with pytest.raises(DuplicateKeyError):
            await store.execute(Insert(after, (row_of(8, name="n1", rank=2),)))
        with pytest.raises(CheckError):
            await store.execute(Insert(after, (row_of(9, name="n9", rank=3),)))

    @needs_alterations
    @needs_references
    async def test_a_reference_that_holds_is_added(self, store: Backend) -> None:
        """From then on it is kept; another treatment of deletes is another reference."""
        parents = things(NAME)
        children = things(Field("parent", FieldType(Kind.UUID), nullable=True))
        await prepare(store, parents, row_of(1, name="p"), row_of(2, name="q"))
        await prepare(store, children, row_of(3, parent=identity(1)), row_of(4, parent=None))
        led = replace(
            children,
            references=(Reference("parent", parents.name, "restrict"),),
            indexes=(Index("parent"),),
        )
        assert await store.execute(Alter(children, led, _NEEDS))
        with pytest.raises(ForeignKeyError):
            await store.execute(Insert(led, (row_of(5, parent=identity(9)),)))
        with pytest.raises(ForeignKeyError):
            await store.execute(Delete(parents, (identity(1),)))
        loose = replace(led, references=(Reference("parent", parents.name, "cascade"),))
        assert await store.execute(Alter(led, loose, _NEEDS))
        assert await store.execute(Delete(parents, (identity(1),))) == (True,)
        assert await stored(store, loose) == [row_of(4, parent=None)]

    @needs_alterations
    async def test_a_field_that_is_dropped_is_gone(self, store: Backend) -> None:
        """With its keys and checks; one of its name that is added later holds nothing of it."""
        extra = Field("extra", LABEL, nullable=True)
        level = Field("level", enum_of("a", "b"))
        before = things(
            NAME,
            extra,
            level,
            uniques=(Unique("extra", "name"),),
            indexes=(Index("extra"), Index("name", "-level")),
            checks=(Check("known", F.extra != "x"),),
        )
        await prepare(store, before, row_of(1, name="a", extra="b", level="a"))
        after = Collection(before.name, (*KEY, NAME), entity="Thing")
        with pytest.raises(SchemaChangeError):
            await store.execute(Alter(before, after, _NEEDS))
        assert await store.execute(Alter(before, after, _LOSES))
        assert await stored(store, after) == [row_of(1, name="a")]
        await store.execute(Insert(after, (row_of(2, name="a"),)))
        again = replace(after, fields=(*after.fields, replace(extra, type=NUMBER)))
        assert await store.execute(Alter(after, again))
        assert await stored(store, again) == [
            row_of(1, name="a", extra=None),
            row_of(2, name="a", extra=None),
        ]

    @needs_alterations
    async def test_a_required_field_is_added_where_there_is_no_row(self, store: Backend) -> None:
        """It has no value to give, and needs none."""
        before = things(NAME)
        await prepare(store, before)
        kinds = {each.name: each.type for each in EVERYTHING.fields[2:]}
        new = [Field(f"new_{name}", kind) for name, kind in kinds.items()]
        after = replace(before, fields=(*before.fields, *new))
        with pytest.raises(SchemaChangeError):
            await store.execute(Alter(before, after))
        assert await store.execute(Alter(before, after, _NEEDS))
        row = row_of(1, name="a", **{f"new_{name}": EDGES[name][1] for name in kinds})
        await store.execute(Insert(after, (row,)))
        assert list(map(exact, await stored(store, after))) == [exact(row)]

    @needs_alterations
    async def test_a_collection_is_dropped_with_its_documents(self, store: Backend) -> None:
        """The second request finds nothing; one of its name that is made later is empty."""
        made, kept = things(NAME), things(NAME)
        await prepare(store, made, row_of(1, name="a"))
        await prepare(store, kept, row_of(1, name="a"))
        with pytest.raises(SchemaMismatchError):
            await store.execute(Drop(replace(made, fields=KEY)))
        assert await store.execute(Drop(made))
        assert not await store.execute(Drop(made))
        with pytest.raises(ConfigurationError):
            await store.execute(Insert(made, (row_of(2, name="b"),)))
        assert (await store.execute(Ensure((made,)))).created == (made.name,)
        assert await stored(store, made) == []
        assert await stored(store, kept) == [row_of(1, name="a")]
        with pytest.raises(InvalidRequestError):
            await store.execute(Drop(CATALOG))

    @needs_alterations
    @needs_references
    async def test_a_collection_to_which_another_refers_is_not_dropped(
        self, store: Backend
    ) -> None:
        """The error names the other one; without it, or its reference, it goes."""
        parents = things(NAME)
        children = things(
            Field("parent", FieldType(Kind.UUID)), references=(Reference("parent", parents.name),)
        )
        await prepare(store, parents, row_of(1, name="a"))
        await prepare(store, children, row_of(2, parent=identity(1)))
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(Drop(parents))
        assert children.name in error.value.message
        assert await stored(store, children) == [row_of(2, parent=identity(1))]
        assert await store.execute(Drop(children))
        assert await store.execute(Drop(parents))
