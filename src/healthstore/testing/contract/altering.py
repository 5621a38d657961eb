"""How a definition is altered: whole, once, while others write, or not at all."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    ConfigurationError,
    HealthstoreError,
    InvalidRequestError,
    Outcome,
    SchemaChangeError,
    SchemaMismatchError,
    SerializationError,
)
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG, catalog_id
from healthstore.model.change import changes_between
from healthstore.model.ops import (
    Alter,
    Batch,
    CountDocuments,
    Ensure,
    Get,
    Insert,
    Patch,
)
from healthstore.model.query import F
from healthstore.model.schema import (
    Check,
    Field,
    Index,
    Unique,
)
from healthstore.testing.contract._altered import (
    KEY,
    LABEL,
    NAME,
    NUMBER,
    decimal_of,
    definition_of,
    enum_of,
    prepare,
    row_of,
    text_of,
    things,
)
from healthstore.testing.contract._promises import (
    Contract,
    needs_alterations,
    needs_transactions,
)
from healthstore.testing.contract._samples import (
    identity,
    stored,
)

__all__ = ("TestAltering",)


class TestAltering(Contract):
    """Who asks again, comes at once or is cut short finds one definition, and every document."""

    @needs_alterations
    async def test_the_store_remembers_the_new_definition(self, store: Backend) -> None:
        """The catalog has it with its defaults, in a row of another version; it is ensured as it is."""
        before = things(NAME)
        await prepare(store, before)
        after = replace(
            before,
            fields=(*before.fields, Field("count", NUMBER, default=7)),
            indexes=(Index("count"),),
        )
        assert await store.execute(Alter(before, after))
        assert not changes_between(await definition_of(store, after.name), after)
        (row,) = await store.execute(Get(CATALOG, (catalog_id(after.name),)))
        assert row is not None
        assert row["version"] in {2, 3}
        assert row["fingerprint"] == after.fingerprint
        assert (await store.execute(Ensure((after,)))).present == (after.name,)
        another = replace(after, fields=(*before.fields, Field("count", LABEL, default="7")))
        with pytest.raises(SchemaMismatchError):
            await store.execute(Ensure((another,)))
        other = replace(after, fields=(*before.fields, Field("count", NUMBER, default=8)))
        assert await store.execute(Alter(after, other))
        assert (await definition_of(store, after.name)).field("count").default == 8
        assert not await store.execute(Alter(after, other))

    @needs_alterations
    async def test_what_is_altered_already_is_left_alone(self, store: Backend) -> None:
        """The second request says that nothing was to be done; of two at once one does it."""
        before = things(NAME)
        await prepare(store, before, row_of(1, name="a"))
        after = replace(before, fields=(*before.fields, Field("count", NUMBER, default=7)))
        done: list[bool] = []

        async def alter() -> None:
            while True:
                try:
                    done.append(await store.execute(Alter(before, after)))
                except SerializationError:  # the other one holds a lock
                    await asyncio.sleep(0.05)
                else:
                    return

        await asyncio.gather(alter(), alter(), alter())
        assert sorted(done) == [False, False, True]
        assert not await store.execute(Alter(before, after))
        assert await stored(store, after) == [row_of(1, name="a", count=7)]

    @needs_alterations
    async def test_what_others_write_meanwhile_is_kept(self, store: Backend) -> None:
        """Increments and inserts of the old definition are there, each with what is new."""
        before = things(NAME, Field("count", NUMBER))
        rows = [row_of(at, name=f"n{at}", count=0) for at in range(1, 200)]
        await prepare(store, before, *rows)
        new = (Field("a", NUMBER, default=7), Field("b", LABEL, default="x"))
        after = replace(before, fields=(*before.fields, *new))
        acknowledged: Counter[int] = Counter()
        added = 0
        altered = False

        async def increment() -> None:
            while not altered:
                at = random.randrange(1, 20)  # noqa: S311 - which row, of no matter
                with suppress(SchemaMismatchError, SerializationError):
                    op = Patch(before, (identity(at),), increments=(("count", 1),))
                    (found,) = await store.execute(op)
                    acknowledged[at] += found is not None
                await asyncio.sleep(0)

        async def add_more() -> None:
            nonlocal added
            while not altered:
                row = row_of(1_000 + added, name="new", count=0)
                with suppress(SchemaMismatchError, SerializationError):
                    await store.execute(Insert(before, (row,)))
                    added += 1
                await asyncio.sleep(0)

        writers = [asyncio.create_task(each()) for each in (increment, increment, add_more)]
        await asyncio.sleep(0.05)
        await self._altered(store, Alter(before, after))
        altered = True
        await asyncio.gather(*writers)
        found = await stored(store, after)
        assert len(found) == len(rows) + added
        assert {(each["a"], each["b"]) for each in found} == {(7, "x")}
        counts = {each["id"]: each["count"] for each in found}
        assert {at: counts[identity(at)] for at in acknowledged} == dict(acknowledged)

    @needs_alterations
    async def test_another_aim_than_that_of_an_attempt_that_was_cut_short(
        self, store: Backend
    ) -> None:
        """What the attempt has left is taken for nothing else than it is."""
        before = things(NAME)
        row = row_of(1, name="a")
        await prepare(store, before, row)
        first = replace(
            before,
            fields=(
                *before.fields,
                Field("k", NUMBER, default=7),
                Field("l", LABEL, default="l"),
            ),
            indexes=(Index("k"),),
        )
        second = replace(before, fields=(*before.fields, Field("k", LABEL, default="nine")))
        attempt = asyncio.create_task(store.execute(Alter(before, first)))
        for _ in range(random.randrange(60)):  # noqa: S311 - when it is cut short
            await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.wait({attempt})
        with suppress(SchemaMismatchError):  # the attempt has come to its end
            await self._altered(store, Alter(before, second))
            assert await stored(store, second) == [{**row, "k": "nine"}]
            await store.execute(Insert(second, (row_of(2, name="b", k="x"),)))

    @needs_alterations
    async def test_a_definition_that_cannot_be_read_is_refused_afterwards(
        self, store: Backend
    ) -> None:
        """Who alters a store, and who looks at it later, is told what differs."""
        before = things(NAME)
        worker = GuardLayer(CatalogLayer(store))
        await prepare(worker, before, row_of(1, name="a"))
        nullable = replace(NAME, nullable=True)
        after = replace(before, fields=(*KEY, nullable, Field("count", NUMBER, default=7)))
        assert await worker.execute(Alter(before, after))
        for asked in (Get(before, (identity(1),)), Insert(before, (row_of(2, name="b"),))):
            with pytest.raises(SchemaMismatchError, match=r"field count.*field name"):
                await worker.execute(asked)
        assert await worker.execute(Get(after, (identity(1),))) == (row_of(1, name="a", count=7),)
        assert await worker.execute(CountDocuments(after)) == 1

    @needs_alterations
    async def test_what_is_not_additive_is_refused_before_anything_is_done(
        self, store: Backend
    ) -> None:
        """The error names the change and its effect; the store serves as it did."""
        before = things(
            NAME,
            Field("rank", NUMBER, nullable=True),
            Field("level", enum_of("a", "b")),
            Field("price", decimal_of(8)),
        )
        row = row_of(1, name="a", rank=None, level="a", price=Decimal("1.0000"))
        await prepare(store, before, row)
        name, rank, level, price = before.fields[2:]
        changes = {
            "add the field extra": (*before.fields, Field("extra", NUMBER)),
            "drop the field rank": (*KEY, name, level, price),
            "change the field name": (*KEY, Field("name", text_of(39)), rank, level, price),
            "change the field rank": (*KEY, name, Field("rank", NUMBER), level, price),
            "change the field level": (*KEY, name, rank, Field("level", enum_of("a")), price),
            "change the field price": (*KEY, name, rank, level, Field("price", decimal_of(8, 2))),
        }
        wanted = {words: replace(before, fields=fields) for words, fields in changes.items()}
        wanted["add the unique key (name)"] = replace(before, uniques=(Unique("name"),))
        wanted["add the check low"] = replace(before, checks=(Check("low", F.rank < 3),))
        for words, after in wanted.items():
            both = replace(after, fields=(*after.fields, Field("fine", NUMBER, default=1)))
            for each in (after, both):
                with pytest.raises(SchemaChangeError) as error:
                    await store.execute(Alter(before, each))
                assert words in error.value.message
                assert "fine" not in error.value.message
                assert error.value.hint
                assert error.value.backend == store.name
                assert error.value.outcome is Outcome.NOT_APPLIED
        assert await stored(store, before) == [row]
        assert not changes_between(await definition_of(store, before.name), before)
        with pytest.raises(InvalidRequestError):
            await store.execute(Alter(before, replace(before, name=f"made_{uuid4().hex[:12]}")))

    @needs_alterations
    async def test_only_the_definition_that_is_stored_is_altered(self, store: Backend) -> None:
        """Another one, a collection that is not there, and the catalog itself are refused."""
        made = things(NAME)
        after = replace(made, fields=(*made.fields, Field("count", NUMBER, default=7)))
        with pytest.raises(ConfigurationError) as missing:
            await store.execute(Alter(made, after))
        assert "initialize()" in missing.value.hint
        await prepare(store, made)
        other = replace(made, fields=(*KEY, Field("name", text_of(30))))
        wider = replace(other, fields=(*KEY, Field("name", text_of(50))))
        with pytest.raises(SchemaMismatchError) as error:
            await store.execute(Alter(other, wider))
        assert "field name was" in error.value.message
        assert error.value.hint
        for before, wanted in ((made, replace(after, name=CATALOG.name)), (CATALOG, CATALOG)):
            changed = replace(wanted, fields=(*wanted.fields, Field("own", NUMBER, nullable=True)))
            with pytest.raises(HealthstoreError):
                await store.execute(Alter(replace(before, name=CATALOG.name), changed))
        assert (await store.execute(Ensure((made,)))).present == (made.name,)

    @needs_alterations
    @needs_transactions
    async def test_a_unit_that_is_open_meanwhile_is_whole_or_undone(self, store: Backend) -> None:
        """Its writes are kept, or it ends with an error and nothing of it is; reads fail clearly."""
        before = things(NAME)
        await prepare(store, before, row_of(1, name="a"))
        after = replace(before, fields=(*before.fields, Field("count", NUMBER, default=7)))
        unit = await store.begin()
        kept = False
        try:
            await unit.execute(Insert(before, (row_of(2, name="b"),)))
            altering = asyncio.create_task(self._altered(store, Alter(before, after)))
            await asyncio.sleep(0.05)
            with suppress(HealthstoreError):
                await unit.execute(Insert(before, (row_of(3, name="c"),)))
                await unit.commit()
                kept = True
        finally:
            await unit.rollback()
        await altering
        rows = [row_of(1, name="a", count=7)]
        if kept:
            rows += [row_of(2, name="b", count=7), row_of(3, name="c", count=7)]
        assert await stored(store, after) == rows

    async def _altered(self, store: Backend, op: Alter) -> None:
        while True:
            try:
                await store.execute(op)
            except SerializationError:  # the unit holds a lock
                await asyncio.sleep(0.05)
            else:
                return

    @needs_alterations
    @needs_transactions
    async def test_an_alteration_is_part_of_no_unit_and_no_batch(self, store: Backend) -> None:
        """Both refuse it before anything is done: not every database could take it back."""
        before = things(NAME)
        await prepare(store, before)
        after = replace(before, fields=(*before.fields, Field("count", NUMBER, default=7)))
        with pytest.raises(InvalidRequestError):
            await store.execute(Batch((Alter(before, after),)))
        unit = await store.begin()
        try:
            with pytest.raises(HealthstoreError) as error:
                await unit.execute(Alter(before, after))
            assert error.value.hint
        finally:
            await unit.rollback()
        assert (await store.execute(Ensure((before,)))).present == (before.name,)
