"""Unique keys under a condition: whom they bind, and whom not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from healthstore.abc import Backend
from healthstore.errors import ConfigurationError, DuplicateKeyError, HealthstoreError, Outcome
from healthstore.model.change import ChangeEffect, changes_between
from healthstore.model.ops import Alter, Ensure, Insert, Patch, Rename, Replace
from healthstore.model.query import F, Filter
from healthstore.model.schema import Field, Unique
from healthstore.model.values import FieldType, Kind, Value
from healthstore.testing.contract._altered import (
    KEY,
    LABEL,
    NUMBER,
    decimal_of,
    definition_of,
    enum_of,
    prepare,
    row_of,
    things,
)
from healthstore.testing.contract._promises import Contract, needs_alterations, proves
from healthstore.testing.contract._samples import identity, stored

__all__ = ("TestConditionalUniques",)

EMAIL = Field("email", LABEL, nullable=True)
STATUS = Field("status", LABEL, nullable=True)
COUNT = Field("count", NUMBER)
KIND = Field("kind", enum_of("a", "b", "c"), nullable=True)
NEEDS_DATA = ChangeEffect.NEEDS_DATA
ACTIVE = F.status == "ACTIVE"
# A condition, a document that it binds, and one that it does not.
CONDITIONS: tuple[tuple[Filter, dict[str, Value], dict[str, Value]], ...] = (
    (ACTIVE, {"status": "ACTIVE"}, {"status": None}),
    (F.status == "it's \\ ü", {"status": "it's \\ ü"}, {"status": "it's ü"}),
    (F.status.is_null(), {"status": None}, {"status": ""}),
    (F.status.not_null(), {"status": ""}, {"status": None}),
    (F.status.in_(["A", "B"]), {"status": "B"}, {"status": "C"}),
    (F.status.in_(["A", None]), {"status": None}, {"status": "C"}),
    ((F.status == "A") | (F.status == "B"), {"status": "A"}, {"status": None}),
    (F.kind != "a", {"kind": None}, {"kind": "a"}),
    (F.kind.not_in(["a", None]), {"kind": "c"}, {"kind": None}),
    (~(F.count > 5), {"count": 5}, {"count": 6}),
    ((F.count > 5) & (F.count <= 9) & F.status.is_null(), {"count": 9}, {"count": 10}),
)
UNKEPT: tuple[Filter, ...] = (
    F.status != "A",
    F.status.contains("A"),
    F.status.startswith("A"),
    (F.status == "A") | (F.count == 1),
    F.status == F.email,
    F.count.not_null(),
    F.count.in_([]),
)


def _fields(bound: dict[str, Value]) -> dict[str, Value]:
    return {"status": None, "count": 0, "kind": None, **bound}


class TestConditionalUniques(Contract):
    """A key under a condition binds the documents that satisfy it, and no others."""

    @proves("C13")
    @pytest.mark.parametrize(("where", "bound", "free"), CONDITIONS, ids=range(len(CONDITIONS)))
    async def test_a_key_binds_whom_its_condition_names(
        self, store: Backend, where: Filter, bound: dict[str, Value], free: dict[str, Value]
    ) -> None:
        """Of those one may have a value; of others any number, also beside it; a null is nobody's."""
        made = things(EMAIL, STATUS, COUNT, KIND, uniques=(Unique("email", where=where),))
        one, other = _fields(bound), _fields(free)
        await prepare(
            store,
            made,
            row_of(1, email="x", **one),
            row_of(2, email="x", **other),
            row_of(3, email="x", **other),
            row_of(4, email=None, **one),
            row_of(5, email=None, **one),
        )
        before = await stored(store, made)
        for op in (
            Insert(made, (row_of(6, email="x", **one),)),
            Replace(made, (row_of(3, email="x", **one) | {"version": 2},)),
            Patch(made, (identity(2),), tuple(one.items())),
            Patch(made, (identity(4),), (("email", "x"),)),
        ):
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(op)
            assert error.value.fields == ("email",)
            assert (error.value.entity, error.value.field) == ("Thing", "email")
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert await stored(store, made) == before
        await store.execute(Patch(made, (identity(1),), tuple(other.items())))
        await store.execute(Patch(made, (identity(2),), tuple(one.items())))
        assert (await store.execute(Ensure((made,)))).present == (made.name,)

    @proves("C13")
    async def test_a_key_under_a_condition_may_ignore_case(self, store: Backend) -> None:
        """Texts that differ in case only are the same to those whom it binds."""
        unique = Unique("email", ignore_case=True, where=ACTIVE)
        made = things(EMAIL, STATUS, uniques=(unique,))
        await prepare(store, made, row_of(1, email="Straße", status="ACTIVE"))
        await store.execute(Insert(made, (row_of(2, email="STRASSE", status="OLD"),)))
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(made, (row_of(3, email="STRASSE", status="ACTIVE"),)))
        assert error.value.fields == ("email",)
        with pytest.raises(DuplicateKeyError):
            await store.execute(Patch(made, (identity(2),), (("status", "ACTIVE"),)))
        await store.execute(Patch(made, (identity(1),), (("status", "OLD"),)))
        await store.execute(Patch(made, (identity(2),), (("status", "ACTIVE"),)))

    @proves("C13")
    async def test_several_fields_are_a_key_under_conditions_of_any_kind(
        self, store: Backend
    ) -> None:
        """Decimals, enums, floats, bools, instants and dates stand in conditions."""
        fields = (
            EMAIL,
            COUNT,
            Field("d", decimal_of(12), nullable=True),
            Field("e", enum_of("a", "b"), nullable=True),
            Field("f", FieldType(Kind.FLOAT), nullable=True),
            Field("b", FieldType(Kind.BOOLEAN)),
            Field("t", FieldType(Kind.DATE), nullable=True),
        )
        where = (F.b != False) & (F.f > 0.5) & (F.e == "a") & (F.d > 0) & F.t.is_null()  # noqa: E712 - a filter
        made = things(*fields, uniques=(Unique("email", "count", where=where), Unique("count")))
        given: dict[str, Value] = {"d": Decimal("1.5000"), "e": "a", "f": 1.0, "t": None}
        row = row_of(1, email="x", count=1, b=True, **given)
        await prepare(store, made, row)
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(made, (row_of(2, **{**row, "id": identity(2)}),)))
        assert error.value.fields in {("count",), ("email", "count")}
        assert await stored(store, made) == [row]

    @proves("C13")
    @needs_alterations
    async def test_a_condition_comes_changes_and_goes(self, store: Backend) -> None:
        """A key becomes one of some documents and of others, and documents stay as they are."""
        before = things(EMAIL, STATUS, uniques=(Unique("email"),))
        rows = [row_of(1, email="x", status="ACTIVE"), row_of(2, email="y", status=None)]
        await prepare(store, before, *rows)
        one = replace(before, uniques=(Unique("email", where=ACTIVE),))
        other = replace(before, uniques=(Unique("email", where=F.status.is_null()),))
        folding = replace(
            before, uniques=(Unique("email", ignore_case=True, where=F.status.is_null()),)
        )
        for was, now in ((before, one), (one, other), (other, folding), (folding, before)):
            assert await store.execute(Alter(was, now, allowed=NEEDS_DATA))
            assert not changes_between(await definition_of(store, now.name), now)
            assert await stored(store, now) == rows
        assert "ACTIVE" not in "".join(map(str, changes_between(one, other)))
        await store.execute(Alter(before, one, allowed=NEEDS_DATA))
        await store.execute(Insert(one, (row_of(3, email="x", status=None),)))
        with pytest.raises(DuplicateKeyError):
            await store.execute(Patch(one, (identity(3),), (("status", "ACTIVE"),)))
        # Not every server of MongoDB's wire says why an index cannot be built.
        with pytest.raises(HealthstoreError):
            await store.execute(Alter(one, before, allowed=NEEDS_DATA))
        assert len(await stored(store, one)) == 3

    @proves("C13")
    @needs_alterations
    async def test_a_field_of_a_condition_may_come_with_it_and_get_longer(
        self, store: Backend
    ) -> None:
        """A key is one of what is new in each document, and binds as before after a change of it."""
        before = things(EMAIL, uniques=(Unique("email"),))
        await prepare(store, before, row_of(1, email="x"))
        unique = Unique("email", where=F.status.is_null())
        after = replace(before, fields=(*KEY, EMAIL, STATUS), uniques=(unique,))
        assert await store.execute(Alter(before, after, allowed=NEEDS_DATA))
        with pytest.raises(DuplicateKeyError):
            await store.execute(Insert(after, (row_of(2, email="x", status=None),)))
        await store.execute(Insert(after, (row_of(2, email="x", status="a"),)))
        long = FieldType(Kind.TEXT, max_length=120)
        longer = replace(
            after,
            fields=(*KEY, replace(EMAIL, type=long), Field("status", long, nullable=True)),
        )
        assert await store.execute(Alter(after, longer))
        with pytest.raises(DuplicateKeyError):
            await store.execute(Patch(longer, (identity(2),), (("status", None),)))

    @proves("C13")
    @needs_alterations
    async def test_a_field_of_a_condition_is_renamed_in_it(self, store: Backend) -> None:
        """The key binds by the field's new name, and by the collection's."""
        before = things(EMAIL, STATUS, uniques=(Unique("email", where=ACTIVE),))
        await prepare(store, before, row_of(1, email="x", status="ACTIVE"))
        state = replace(STATUS, name="state")
        unique = Unique("email", where=F.state == "ACTIVE")
        after = replace(before, fields=(*KEY, EMAIL, state), uniques=(unique,))
        assert await store.execute(Rename(before, after))
        moved = replace(after, name=f"{after.name}_n")
        assert await store.execute(Rename(after, moved))
        await store.execute(Insert(moved, (row_of(2, email="x", state="OLD"),)))
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(moved, (row_of(3, email="x", state="ACTIVE"),)))
        assert error.value.fields == ("email",)
        assert (await store.execute(Ensure((moved,)))).present == (moved.name,)

    @proves("C13")
    async def test_a_condition_that_not_every_database_keeps_is_refused(
        self, store: Backend
    ) -> None:
        """It is told where the entity is defined, alike for every backend."""
        del store
        for where in UNKEPT:
            with pytest.raises(ConfigurationError, match="the condition of a unique key of email"):
                things(EMAIL, STATUS, COUNT, uniques=(Unique("email", where=where),))
        two = (Unique("email", where=ACTIVE), Unique("email"))
        with pytest.raises(ConfigurationError, match="several keys"):
            things(EMAIL, STATUS, uniques=two)
