"""Indexes of parts of JSON: what is kept and used, and what stays true of every answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from healthstore.abc import Backend
from healthstore.errors import ConfigurationError, UnknownFieldError
from healthstore.model.catalog import definition, from_definition
from healthstore.model.change import ChangeEffect, changes_between
from healthstore.model.ops import (
    Alter,
    CountDocuments,
    Drop,
    Ensure,
    ExplainFind,
    Find,
    Insert,
    Patch,
    RefreshStatistics,
    Rename,
)
from healthstore.model.query import TERM_HEAD, F, FieldPart, Filter
from healthstore.model.schema import Field, Index
from healthstore.model.values import Document, FieldType, Json, Kind, Value
from healthstore.testing.contract._altered import LABEL, definition_of, prepare, row_of, things
from healthstore.testing.contract._promises import (
    Contract,
    needs_alterations,
    partly_needs,
    proves,
)
from healthstore.testing.contract._samples import add, identity, ids, selected, stored
from healthstore.testing.contract._structured import KEYS, ROWS, SCALARS

__all__ = ("TestIndexTerms",)

DATA = Field("data", FieldType(Kind.JSON), nullable=True)
NAME = Field("name", LABEL)
X = F.data["x"]
Y = F.data["x"]["y"]
NUMBERS = (Index(X.as_(float)), Index(X.as_(int)), Index("name", Y.as_(float)))
TEXTS = (Index(X.as_(str)), Index("name", Y.as_(str)))
OTHERS = (Index(X.as_(bool)), Index(Y.as_(int)), Index(Y.as_(bool)))
_COUNT = 2_000  # enough for each planner to prefer an index
_TEXTS = [each for each in SCALARS if isinstance(each, str)]
_BEGUN = "ä" * TERM_HEAD  # what an index has of these
LONG = tuple(_BEGUN + end for end in ("", "a", "b", "b" * 3_000, "\U0001f600"))
_NUMBERS = [each for each in SCALARS if isinstance(each, int | float)]


def _rows() -> list[Document]:
    long: list[Value] = [{"x": each} for each in (*LONG, _BEGUN[1:])]
    data = [*(row["data"] for row in ROWS), *long]
    return [row_of(at, name=f"n{at % 3}", data=each) for at, each in enumerate(data)]


def _filters(part: FieldPart) -> list[Filter]:
    found: list[Filter] = [part == each for each in SCALARS]
    for each in _NUMBERS:
        if not isinstance(each, bool):
            found += [part > each, part >= each, part < each, part <= each]
    for text in (*_TEXTS[:3], *LONG[:3], LONG[4]):
        found += [part == text, part > text, part >= text, part < text, part <= text]
        found += [part.as_(str) == text, part.as_(str) > text, part.as_(str) <= text]
        found += [part.startswith(text[:300]), part.as_(str).startswith(text[:70])]
    found += [
        part.in_([*LONG[1:3], "a"]),
        part.as_(str).in_([LONG[0], None]),
        part.as_(str) != LONG[1],
        part.contains("a"),
        part.in_([1, 2**53, 2**53 + 1, 0.1]),
        part.in_([1, 2, -1.0]),
        part.in_([True, "a", 1, None]),
        part.is_missing(),
        part != 1,
        (part > 1) & (F.name == "n1"),
        (part > 1e16) | (part < 0),
        *(part.as_(float) == each for each in (2**53, 0.1, 5e-324, -1e300, 0)),
        *(part.as_(float) > each for each in (2**53, 1e300, -(2.0**63), 2.5)),
        *(part.as_(float) <= each for each in (2**53, 1e300, -(2.0**63), 2.5)),
        part.as_(float) >= 2**53,
        part.as_(float) < 2**53,
        part.as_(float).in_([2**53, 1e16, None]),
        part.as_(int) == 1,
        part.as_(int) >= 2**53 + 1,
        part.as_(int).in_([1, 2**63 - 1]),
        part.as_(bool) == True,  # noqa: E712 - a filter
    ]
    return found


class TestIndexTerms(Contract):
    """An index of a part of JSON makes some tests faster, and no answer another one."""

    @proves("J11")
    @pytest.mark.parametrize(
        "indexes", (NUMBERS, TEXTS, OTHERS), ids=("numbers", "texts", "others")
    )
    async def test_an_index_of_a_part_of_json_changes_no_answer(
        self, store: Backend, indexes: tuple[Index, ...]
    ) -> None:
        """Whatever is there, and is compared with it, is found as Python finds it."""
        made = things(NAME, DATA, indexes=indexes)
        rows = _rows()
        await add(store, made, *rows)
        for where in (*_filters(X), *_filters(Y)):
            wanted = ids(selected(rows, where))
            assert ids(await store.execute(Find(made, where, limit=1_000))) == wanted, where
        for where in (X > 1, ~(X > 1), ~(Y == 2**53 + 1)):
            wanted = ids(selected(rows, where))
            assert await store.execute(CountDocuments(made, where)) == len(wanted)

    @proves("J11")
    @partly_needs("term_indexes")
    async def test_an_index_of_a_part_of_json_is_used(self, store: Backend) -> None:
        """For a number, a text, a range of them, behind another key; or it declares none."""
        weight, rank, unit = F.data["weight"], F.data["a b"]["rank"], F.data["unit"]
        by_weight, by_rank = Index(weight.as_(float)), Index(rank.as_(int))
        by_name, by_unit = Index("name", weight.as_(float)), Index(unit.as_(str))
        made = things(NAME, DATA, indexes=(by_weight, by_rank, by_name, by_unit))
        await store.execute(Ensure((made,)))
        data: list[Json] = [
            {"weight": at / 2, "a b": {"rank": at * 7 % _COUNT}, "unit": f"u{at * 3 % _COUNT:04}"}
            for at in range(_COUNT)
        ]
        rows = tuple(row_of(at, name=f"n{at % 50}", data=each) for at, each in enumerate(data))
        await store.execute(Insert(made, rows, atomic=store.capabilities.transactions))
        await store.execute(RefreshStatistics(made))
        for where, declared in (
            ((weight > 990) & (weight < 2_000), by_weight),
            (weight == 77.5, by_weight),
            (weight.in_([7, 8.5]), by_weight),
            ((weight > 3) & (weight <= 5), by_weight),
            (rank == 77, by_rank),
            (weight.as_(float).in_([77.5, 78]), by_weight),
            (rank.as_(int) == 77, by_rank),
            (unit == "u0077", by_unit),
            (unit.as_(str) == "u0077", by_unit),
            (unit.in_(["u0077", "u0078"]), by_unit),
            ((unit > "u0100") & (unit <= "u0107"), by_unit),
            ((unit.as_(str) >= "u1990") & (unit.as_(str) < "u1995"), by_unit),
            ((F.name == "n7") & (weight > 900), by_name),
        ):
            find = Find(made, where, limit=1_000)
            assert ids(await store.execute(find)) == ids(selected(rows, where)), where
            plan = await store.execute(ExplainFind(find))
            if store.capabilities.term_indexes:
                ours = {made.index_name(declared), made.index_name(by_weight)}
                assert plan.index in ours, f"{where}: {plan.native}"
                assert declared is by_name or plan.index == made.index_name(declared)
            elif declared is not by_name:
                assert plan.index not in made.index_names, f"{where}: {plan.native}"

    async def test_any_key_may_be_on_the_way_to_an_indexed_part(self, store: Backend) -> None:
        """Spaces, dots, dollars and signs: it is looked for as text, and found."""
        keys = [
            key
            for key in KEYS
            if key
            and not set('"\\\n\t\x01') & set(key)
            and (store.capabilities.hyphen_keys or not key.startswith("-"))
        ]
        for some in (keys[at : at + 20] for at in range(0, len(keys), 20)):
            made = things(DATA, indexes=tuple(Index(F.data[key].as_(float)) for key in some))
            rows = [row_of(at, data={key: at + 1}) for at, key in enumerate(some)]
            await add(store, made, *rows)
            for at, key in enumerate(some):
                found = await store.execute(Find(made, F.data[key] >= at + 1))
                assert ids(found) == (rows[at]["id"],), key
            assert (await store.execute(Ensure((made,)))).present == (made.name,)

    @needs_alterations
    async def test_an_index_of_a_part_of_json_comes_and_goes(self, store: Backend) -> None:
        """Adding and dropping it are additive changes, which keep every document."""
        before = things(NAME, DATA)
        rows = _rows()[:200]
        await store.execute(Ensure((before,)))
        await store.execute(Insert(before, tuple(rows), atomic=store.capabilities.transactions))
        one = replace(before, indexes=(Index(X.as_(float)),))
        other = replace(before, indexes=(Index(X.as_(int)), Index("name", X.as_(float))))
        for was, now in ((before, one), (one, other), (other, before), (before, other)):
            assert await store.execute(Alter(was, now))
            assert await definition_of(store, now.name) == now
            assert await stored(store, now) == rows
            found = await store.execute(Find(now, X > 1, limit=1_000))
            assert ids(found) == ids(selected(rows, X > 1))
            assert (await store.execute(Ensure((now,)))).present == (now.name,)
        await store.execute(Patch(other, (identity(0),), (("data", {"x": 1e300}),)))
        assert await store.execute(CountDocuments(other, X == 1e300)) >= 1
        await store.execute(Drop(other))
        assert (await store.execute(Ensure((one,)))).created == (one.name,)

    @needs_alterations
    async def test_a_field_with_an_indexed_part_comes_and_goes_with_it(
        self, store: Backend
    ) -> None:
        """In one step, and it may become one that is never None."""
        plain = things(NAME)
        made = things(NAME, DATA, indexes=(Index("name", X.as_(float)),), name=plain.name)
        required = replace(made, fields=(*plain.fields, replace(DATA, nullable=False)))
        await prepare(store, plain, row_of(1, name="n"))
        assert await store.execute(Alter(plain, made))
        assert await store.execute(CountDocuments(made, X > 0)) == 0
        await store.execute(Patch(made, (identity(1),), (("data", {"x": 5}),)))
        assert await store.execute(Alter(made, required, ChangeEffect.NEEDS_DATA))
        assert await store.execute(CountDocuments(required, (X > 4) & (F.name == "n"))) == 1
        assert await store.execute(Alter(required, plain, ChangeEffect.LOSES_DATA))
        assert (await store.execute(Ensure((plain,)))).present == (plain.name,)

    @needs_alterations
    async def test_a_field_with_an_indexed_part_is_renamed(self, store: Backend) -> None:
        """The field, and then the collection: its documents are found as before."""
        before = things(NAME, DATA, indexes=(Index("name", X.as_(float)), Index(X.as_(int))))
        rows = [row_of(at, name="n", data={"x": at}) for at in range(6)]
        await prepare(store, before, *rows)
        y = F.info["x"]
        info = things(
            NAME,
            replace(DATA, name="info"),
            indexes=(Index("name", y.as_(float)), Index(y.as_(int))),
            name=before.name,
        )
        other = replace(info, name=f"{before.name}_b", entity="")
        for was, now in ((before, info), (info, other)):
            assert await store.execute(Rename(was, now))
            found = await store.execute(Find(now, (y > 3) & (F.name == "n")))
            assert ids(found) == (rows[4]["id"], rows[5]["id"])
            assert (await store.execute(Ensure((now,)))).present == (now.name,)

    async def test_an_index_of_a_part_is_told_in_words_and_read_back(self, store: Backend) -> None:
        """By its path and type, in a change and in the catalog; what was stored before stays it."""
        del store
        plain = things(NAME, DATA, name="made_words", indexes=(Index("name"),))
        made = replace(plain, indexes=(*plain.indexes, Index("name", X.as_(float))))
        (change,) = changes_between(plain, made)
        assert str(change) == "add the index (name, data.x.as_(float))"
        assert from_definition(definition(made)) == made
        assert from_definition(definition(made)).fingerprint == made.fingerprint
        assert made.fingerprint != plain.fingerprint
        other = replace(plain, indexes=(*plain.indexes, Index("name", X.as_(int))))
        assert len({*made.index_names, *other.index_names}) == 3

    async def test_an_index_of_a_part_that_none_can_keep_is_refused(self, store: Backend) -> None:
        """Two parts, a place in a list, no path, no JSON, a key in the way."""
        del store
        for index in (
            Index(X.as_(float), Y.as_(float)),
            Index(F.data[0].as_(float)),
            Index(F.data["x"][0].as_(float)),
            Index(F.name["x"].as_(float)),
            Index(F.data[""].as_(float)),
            Index(F.data['"'].as_(float)),
            Index(F.data["a\\b"].as_(float)),
            Index(F.data["a\nb"].as_(float)),
            Index(F.data["x" * 257].as_(float)),
        ):
            with pytest.raises(ConfigurationError) as caught:
                things(NAME, DATA, indexes=(index,))
            assert caught.value.field in {"data", "name"}, index
            assert caught.value.hint
        with pytest.raises(UnknownFieldError, match="dat"):
            things(NAME, DATA, indexes=(Index(F.dat["x"].as_(float)),))
        with pytest.raises(ConfigurationError, match="twice"):
            things(NAME, DATA, indexes=(Index(X.as_(int)), Index(X.as_(int))))
