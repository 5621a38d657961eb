"""Limits: the largest definitions that are allowed are kept by every backend, full to the brim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import TypeAlias
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import CapabilityError, CheckError, ConfigurationError
from healthstore.model.catalog import CATALOG, catalog_id
from healthstore.model.ops import Ensure, Find, Get, Insert
from healthstore.model.query import F, Filter, Or
from healthstore.model.schema import Check, Collection, Field, Index
from healthstore.model.values import Document, FieldType, Kind, Value, canonicaliser
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import EDGES, ids, stored

__all__ = ("TestLimits",)

_ID = Field("id", FieldType(Kind.UUID))
_VERSION = Field("version", FieldType(Kind.INTEGER))
_EMOJI = "\U0001f600"  # the largest code point's four bytes
_TEXT = FieldType(Kind.TEXT)


def _text(length: int) -> FieldType:
    return FieldType(Kind.TEXT, max_length=length)


# Types of which a collection takes a limited number of fields, each with values that fill it.
_Full: TypeAlias = "tuple[FieldType, tuple[Value, ...]]"
FULL: Mapping[str, tuple[_Full, ...]] = {
    "endless text": ((_TEXT, (_EMOJI * 10, _EMOJI * 2_000)),),
    "text of 200": ((_text(200), (_EMOJI * 200, _EMOJI * 10)),),
    "text of 300": ((_text(300), (_EMOJI * 300, _EMOJI * 10)),),
    "text of 60": ((_text(60), (_EMOJI * 60, _EMOJI * 10)),),
    "text of 10": ((_text(10), (_EMOJI * 10,)),),
    "bytes": ((FieldType(Kind.BYTES), (b"x" * 40, b"\xff" * 5_000)),),
    "JSON": ((FieldType(Kind.JSON), ({"a": _EMOJI * 8}, ["x" * 3_000])),),
    "enums": ((FieldType(Kind.ENUM, choices=("a", _EMOJI * 40)), (_EMOJI * 40,)),),
    "decimals": ((FieldType(Kind.DECIMAL, digits=28, places=10), (Decimal("9" * 18),)),),
    "UUIDs": ((FieldType(Kind.UUID), (UUID(int=2**128 - 1),)),),
    "flags and instants": (
        (FieldType(Kind.BOOLEAN), (True,)),
        (FieldType(Kind.DATETIME), (datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),)),
    ),
    "dates and numbers": (
        (FieldType(Kind.DATE), (date(9999, 12, 30),)),
        (FieldType(Kind.INTEGER), (2**63 - 1,)),
    ),
}
# Names that a database has for itself.
TAKEN = (
    *("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "oid", "rowid"),
    *("db_row_id", "db_trx_id", "db_roll_ptr", "db_mix_id", "fts_doc_id", "_rowid_", "_id"),
)


# Definitions that grow with a number, until they are refused; each accepts "a" and refuses "b".
LONG: Mapping[str, Callable[[int], Collection]] = {
    "a text with quotes": lambda count: _checked(F.label != "'\\" * count, F.label != "b"),
    "a long text": lambda count: _checked(F.label != _EMOJI * count, F.label != "b"),
    "the start of a text": lambda count: _checked(~F.label.startswith("x" * count), F.label != "b"),
    "a list of texts": lambda count: _checked(
        F.label.in_(["a", *(f"{at:06d}'" for at in range(count))])
    ),
    "a list of numbers": lambda count: _checked(
        F.number.not_in([at - 2**63 for at in range(count)]), F.label != "b"
    ),
    "many parts": lambda count: _checked(
        *(F.number != at for at in range(min(count, 1_000))), F.label != "b"
    ),
    "many alternatives": lambda count: _checked(
        Or(tuple(F.label == f"{at}" for at in range(min(count, 2_000)))) | (F.label == "a")
    ),
    "many members": lambda count: _checked(
        F.label != "b", choices=("a", *(f"{at:07d}" for at in range(count)))
    ),
}


def _checked(*rules: Filter, choices: tuple[str, ...] = ()) -> Collection:
    kind = FieldType(Kind.ENUM, choices=(*choices, "b")) if choices else _text(100)
    fields = (Field("label", kind), Field("number", FieldType(Kind.INTEGER)))
    checks = tuple(Check(f"rule_{at}", rule) for at, rule in enumerate(rules))
    return Collection(_fresh(), (_ID, _VERSION, *fields), checks=checks, entity="Long")


def _wide(kinds: Sequence[FieldType], count: int, *, indexed: int = 0) -> Collection:
    """Return a collection of ``count`` fields of these types in turn, some of them indexed."""
    fields = tuple(
        Field(f"field_{at:042d}", kinds[at % len(kinds)], nullable=True) for at in range(count)
    )
    indexes = tuple(Index(each.name) for each in fields[:indexed])
    return Collection(_fresh(), (_ID, _VERSION, *fields), indexes=indexes, entity="Wide")


def _largest(define: Callable[[int], Collection], low: int, high: int) -> Collection:
    """Return the largest definition that is allowed; ``low`` is, ``high`` is not."""
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            define(middle)
        except ConfigurationError:
            high = middle
        else:
            low = middle
    return define(low)


def _fresh() -> str:
    """Return a collection's name that no store has."""
    return f"made_{uuid4().hex[:12]}"


class TestLimits(Contract):
    """What a definition may hold at most is the same everywhere, and everywhere it is kept."""

    @proves("W9")
    @pytest.mark.parametrize("case", FULL)
    async def test_the_widest_definition_keeps_full_rows(self, store: Backend, case: str) -> None:
        """As many fields as a definition may have are kept by every backend, each of them full."""
        kinds = tuple(kind for kind, _ in FULL[case])
        await self._keeps(store, _largest(partial(_wide, kinds), 1, 501), dict(FULL[case]))

    @proves("W9")
    async def test_short_indexed_texts_keep_full_rows(self, store: Backend) -> None:
        """Texts that an index holds whole leave room for as many others as are allowed."""
        short = _text(60)
        wide = _largest(partial(_wide, (short,), indexed=30), 30, 501)
        await self._keeps(store, wide, {short: (_EMOJI * 60, "")})

    async def _keeps(
        self, store: Backend, wide: Collection, values: Mapping[FieldType, Sequence[Value]]
    ) -> None:
        rows: list[Document] = []
        for place in range(2):
            row: Document = {"id": uuid4(), "version": 1}
            for at, each in enumerate(wide.fields[2:]):
                full = values[each.type]
                row[each.name] = canonicaliser(each.type)(full[(at + place) % len(full)])
            rows.append(row)
        if not await self._made(store, wide):
            return
        for row in rows:
            await store.execute(Insert(wide, (row,)))
        assert set(ids(await stored(store, wide))) == set(ids(rows))
        assert await store.execute(Get(wide, ids(rows))) == tuple(rows)

    @proves("V19")
    async def test_a_member_of_an_enum_may_be_any_text(self, store: Backend) -> None:
        """Members with quotes, signs of statements and no character at all are kept and found."""
        members = tuple(each for each in EDGES["text"] if isinstance(each, str))
        things = _checked(F.number >= 0, choices=members)
        await store.execute(Ensure((things,)))
        again = _checked(F.number >= 0, choices=members[::-1])
        assert replace(again, name=things.name) == things
        for number, label in enumerate(members):
            row: Document = {"id": uuid4(), "version": 1, "label": label, "number": number}
            await store.execute(Insert(things, (row,)))
            assert await stored(store, things, F.label == label) == [row]

    @proves("W7")
    @pytest.mark.parametrize("case", LONG)
    async def test_the_longest_checks_are_enforced(self, store: Backend, case: str) -> None:
        """Checks and enums of as many bytes as are allowed are kept whole by every backend."""
        long = _largest(LONG[case], 1, 40_000)
        if not await self._made(store, long):
            return
        row: Document = {"id": uuid4(), "version": 1, "label": "a", "number": -1}
        await store.execute(Insert(long, (row,)))
        with pytest.raises(CheckError):
            await store.execute(Insert(long, ({**row, "id": uuid4(), "label": "b"},)))

    async def _made(self, store: Backend, collection: Collection) -> bool:
        """Make a collection; a server that limits what it checks refuses, and nothing is made."""
        try:
            await store.execute(Ensure((collection,)))
        except CapabilityError as error:
            assert error.hint
            assert error.entity == collection.entity
            assert await store.execute(Get(CATALOG, (catalog_id(collection.name),))) == (None,)
            with pytest.raises(ConfigurationError):
                await store.execute(Find(collection, limit=1))
            return False
        return True

    @proves("W9")
    async def test_what_some_database_could_not_keep_is_refused_where_it_is_defined(
        self, store: Backend
    ) -> None:
        """Too many or too long fields, and longer checks, are the same error on every backend."""
        wide: Mapping[str, Callable[[], Collection]] = {
            "80": lambda: _wide((_text(200),), 100),
            "19": lambda: _wide((_TEXT,), 480),
            "1503 fields": lambda: _wide((FieldType(Kind.BOOLEAN),), 1_501),
            "members of enums": lambda: _wide(
                (FieldType(Kind.ENUM, choices=tuple(f"{at:06d}" for at in range(6_001))),), 1
            ),
        }
        for number, define in wide.items():
            with pytest.raises(ConfigurationError) as error:
                define()
            assert number in error.value.message
            assert error.value.hint
            assert error.value.entity == "Wide"
        await store.execute(Ensure(()))

    @proves("W10")
    @pytest.mark.parametrize("name", TAKEN)
    async def test_a_name_that_a_database_has_for_itself_is_refused(
        self, store: Backend, name: str
    ) -> None:
        """A field never hides, or is hidden by, a system column of any database."""
        with pytest.raises(ConfigurationError) as error:
            Collection(_fresh(), (_ID, _VERSION, Field(name, _TEXT)), entity="Taken")
        assert f"'{name}'" in error.value.message
        assert error.value.hint
        await store.execute(Ensure(()))

    @proves("W10")
    async def test_a_collection_is_never_taken_for_one_of_the_database(
        self, store: Backend
    ) -> None:
        """Names under which a database finds something of its own are refused."""
        for name in ("pg_class", "pg_mine"):
            with pytest.raises(ConfigurationError) as error:
                Collection(name, (_ID, _VERSION))
            assert error.value.hint
        with pytest.raises(ConfigurationError) as error:
            await store.execute(Ensure((Collection(CATALOG.name, (_ID, _VERSION)),)))
        assert type(error.value) is ConfigurationError
        assert error.value.hint
