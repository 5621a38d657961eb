"""Semi-joins: a field looked up in what another query finds is one looked up in a list of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend, Executor, UnitOptions
from healthstore.entity import Entity, MaxLength, collection_of
from healthstore.errors import ConfigurationError, InvalidRequestError, UnknownFieldError
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.guard import GuardLayer
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Count,
    CountDocuments,
    Ensure,
    Find,
    Function,
    Insert,
    Measure,
)
from healthstore.model.query import (
    ALL,
    MAX_LOOKUPS,
    NONE,
    And,
    F,
    Filter,
    Lookup,
    Not,
    Operator,
    Or,
    Test,
    field,
    parse_order,
)
from healthstore.model.schema import Check, Collection, Field, Index
from healthstore.model.values import FieldType, Kind, Value
from healthstore.repository import Repository
from healthstore.testing.contract._altered import LABEL, NUMBER, decimal_of, prepare, row_of, things
from healthstore.testing.contract._paired import KINDS, PAIRS, ROWS
from healthstore.testing.contract._promises import (
    Contract,
    laws,
    needs_alterations,
    needs_transactions,
    partly_needs,
)
from healthstore.testing.contract._samples import add, identity, ids, selected, stored
from healthstore.testing.contract._structured import STRUCTURED, filled
from healthstore.testing.strategies import filters
from healthstore.transaction import transaction

__all__ = ("TestJoins",)

LINKS = replace(PAIRS, name="contract_links", entity="Link")
LINK_ROWS = [row for row in ROWS if row["first"] != 2]  # a third of what is looked up is nowhere
_LISTED = (Operator.IN, Operator.NOT_IN)


async def _filled(store: Backend) -> Backend:
    """Add the rows; an example of a law may find them already there."""
    await store.execute(Ensure((PAIRS, LINKS)))
    if not await store.execute(CountDocuments(PAIRS)):
        await add(store, PAIRS, *ROWS)
        await add(store, LINKS, *LINK_ROWS)
    return store


def _looped(where: Filter) -> Filter:
    """Return a filter with the values, in Python, of each query inside of it."""
    if isinstance(where, Test):
        if not isinstance(where.operand, Lookup):
            return where
        rows = {PAIRS: ROWS, LINKS: LINK_ROWS}[where.operand.collection]
        found = selected(rows, _looped(where.operand.where))
        values = tuple(row[where.operand.field] for row in found)
        return Test(where.field, where.operator, values)
    if isinstance(where, Not):
        return Not(_looped(where.item))
    return type(where)(tuple(map(_looped, where.items)))


async def _divides(store: Backend, where: Filter) -> None:
    """Check that a filter and its negation find what they find with lists in them."""
    wanted = ids(selected(ROWS, _looped(where)))
    assert ids(await stored(store, PAIRS, where)) == wanted, where
    rest = tuple(each for each in ids(ROWS) if each not in wanted)
    assert ids(await stored(store, PAIRS, Not(where))) == rest, where


_PLACES = [
    (mine.name, theirs.name)
    for mine in PAIRS.fields
    for theirs in PAIRS.fields
    if mine.type.comparable_with(theirs.type)
]


def _lookups(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    """Generate tests that look a field up in each one that is like it, of either collection."""

    def made(places: tuple[str, str], operator: Operator, where: Filter, *, own: bool) -> Filter:
        mine, theirs = places
        return Test(mine, operator, Lookup(PAIRS if own else LINKS, where, theirs))

    return st.builds(
        made, st.sampled_from(_PLACES), st.sampled_from(_LISTED), inner, own=st.booleans()
    )


def _joined() -> st.SearchStrategy[Filter]:
    """Generate filters that look something up, beside other tests and inside of each other."""
    plain = filters(PAIRS, ROWS)  # the two collections have the same fields
    nested = st.recursive(
        plain,
        lambda inner: _lookups(inner) | st.tuples(plain, _lookups(inner)).map(And),
        max_leaves=3,
    )
    beside = st.lists(_lookups(nested) | plain, max_size=2).map(tuple)
    return st.one_of(
        _lookups(nested),
        st.builds(lambda one, rest: And((one, *rest)), _lookups(plain), beside),
        st.builds(lambda one, rest: Not(Or((one, *rest))), _lookups(plain), beside),
    )


class _Doctor(Entity, collection="contract_lookup_doctors"):
    name: Annotated[str, MaxLength(20)]


class _Link(Entity, collection="contract_doctor_links"):
    doctor_id: UUID
    patient_id: UUID | None
    active: bool = True


class _Metric(Entity, collection="contract_link_metrics"):
    user_id: UUID | None
    value: int


async def _surgery(
    store: Backend, executor: Executor | None = None
) -> tuple[Repository[_Link], Repository[_Metric]]:
    """Return two repositories: doctor 1 has patients 1 to 3, doctor 2 has 3 and nobody."""
    entities: tuple[type[Entity], ...] = (_Doctor, _Link, _Metric)
    await store.execute(Ensure(tuple(map(collection_of, entities))))
    there = executor or store
    links, metrics = Repository(_Link, there), Repository(_Metric, there)
    for doctor, patient in ((1, 1), (1, 2), (1, 3), (2, 3), (2, None)):
        whose = None if patient is None else identity(patient)
        await links.add(_Link(doctor_id=identity(doctor), patient_id=whose, active=patient != 2))
    for value, user in enumerate((1, 1, 2, 3, 4, None, 3)):
        whose = None if user is None else identity(user)
        await metrics.add(_Metric(user_id=whose, value=value))
    return links, metrics


class TestJoins(Contract):
    """``in_()`` takes what another query finds, and means what it means for a list."""

    @laws
    @given(_joined())
    async def test_semi_join_equals_loop(self, store: Backend, where: Filter) -> None:
        """Any field, any query, inside of each other and beside other tests, as Python says."""
        await _divides(await _filled(store), where)

    @pytest.mark.parametrize("kind", KINDS)
    async def test_every_kind_is_looked_up(self, store: Backend, kind: str) -> None:
        """Values and nulls, either way round, also where digits or lengths differ."""
        await _filled(store)
        one, other = f"{kind}_one", f"{kind}_other"
        for mine, theirs in ((one, other), (other, one), (one, one)):
            for where in (ALL, F.second == 1, F.first == 7):
                for operator in _LISTED:
                    await _divides(store, Test(mine, operator, Lookup(LINKS, where, theirs)))

    async def test_none_counts_as_a_listed_one(self, store: Backend) -> None:
        """Found or not found inside, in a field that may be null or not: as the loop on the store."""
        await _filled(store)
        for mine in ("number_one", "first"):
            for theirs in ("number_other", "second"):
                for inner in (F.number_other.is_null(), F.number_other.not_null(), F.second < 2):
                    links = Lookup(LINKS, inner, theirs)
                    rows = await stored(store, LINKS, inner)
                    values = [row[theirs] for row in rows]
                    for semi, loop in (
                        (F[mine].in_(links), F[mine].in_(values)),
                        (F[mine].not_in(links), F[mine].not_in(values)),
                        (~F[mine].in_(links), ~F[mine].in_(values)),
                        (~F[mine].not_in(links), ~F[mine].not_in(values)),
                    ):
                        assert await stored(store, PAIRS, semi) == await stored(store, PAIRS, loop)
                        await _divides(store, semi)

    async def test_a_query_that_finds_nothing_is_an_empty_list(self, store: Backend) -> None:
        """No row is in it, and each is not, one with None too."""
        await _filled(store)
        for inner in (NONE, F.first == 9, F.first.in_([])):
            links = Lookup(LINKS, inner, "owner_other")
            assert await stored(store, PAIRS, F.owner_one.in_(links)) == []
            assert ids(await stored(store, PAIRS, F.owner_one.not_in(links))) == ids(ROWS)

    async def test_a_query_compares_parts_with_whole_json(self, store: Backend) -> None:
        """With an object or a list, which to Python have no hash."""
        await filled(store)
        for where in (F.data["x"].not_in([{}, [1]]), F.data["x"] != {"a": []}):
            looked_up = Test("id", Operator.IN, Lookup(STRUCTURED, where, "id"))
            wanted = ids(await stored(store, STRUCTURED, where))
            assert ids(await stored(store, STRUCTURED, looked_up)) == wanted

    async def test_a_collection_is_looked_up_in_itself(self, store: Backend) -> None:
        """And inside of that again: each has a name of its own in the statement."""
        await _filled(store)
        inner = F.owner_one.in_(Lookup(PAIRS, F.second == 1, "owner_other"))
        for where in (
            F.id.in_(Lookup(PAIRS, F.first == 1, "id")),
            F.id.not_in(Lookup(PAIRS, inner, "owner_one")),
            F.owner_other.in_(Lookup(PAIRS, ~inner & (F.first > F.second), "id")),
        ):
            await _divides(store, where)

    async def test_queries_stand_inside_each_other(self, store: Backend) -> None:
        """Three of them do; a fourth is refused, and so is what no query can be."""
        await _filled(store)
        where: Filter = F.second > 0
        for _ in range(MAX_LOOKUPS):
            where = F.first.in_(Lookup(LINKS, where, "second"))
        await _divides(store, where)
        with pytest.raises(InvalidRequestError) as refused:
            await stored(store, PAIRS, F.first.in_(Lookup(LINKS, where, "second")))
        assert refused.value.hint
        assert "queries" in refused.value.message
        for _ in range(1_000):
            where = F.first.in_(Lookup(LINKS, where, "second"))
        with pytest.raises(InvalidRequestError, match="levels"):
            await stored(store, PAIRS, where)

    async def test_a_query_stands_in_every_kind_of_question(self, store: Backend) -> None:
        """In a count, a page after a position, and aggregates, those that sum floats too."""
        await _filled(store)
        links = Lookup(LINKS, F.number_other < 2, "number_other")
        where = F.number_one.in_(links) | (F.first == 2)
        order = parse_order(["-first", "second"])
        wanted = selected(ROWS, _looped(where), order)
        assert 10 < len(wanted) < len(ROWS)
        assert await store.execute(CountDocuments(PAIRS, where)) == len(wanted)
        page = await store.execute(Find(PAIRS, where, order, limit=7))
        position = tuple(page[-1][key.field] for key in order)
        rest = await store.execute(Find(PAIRS, where, order, limit=100, after=position))
        assert ids((*page, *rest)) == ids(wanted)
        loop = _looped(where)
        for measures in (
            (Measure(Function.COUNT), Measure(Function.SUM, "second")),
            (Measure(Function.SUM, "ratio_one"), Measure(Function.AVG, "amount_other")),
        ):
            groups = await store.execute(Aggregate(PAIRS, measures, where, ("first",)))
            assert groups == await store.execute(Aggregate(PAIRS, measures, loop, ("first",)))

    @needs_transactions
    async def test_a_unit_looks_up_in_what_it_sees(self, store: Backend) -> None:
        """What it has written itself is found, and nothing that others write meanwhile."""
        await _filled(store)
        links = Lookup(LINKS, F.second == 5, "number_one")
        where = F.number_one.in_(links)
        unit = await store.begin()
        try:
            assert await unit.execute(CountDocuments(PAIRS, where)) == 0
            ours = {**LINK_ROWS[0], "id": identity(900), "second": 5, "number_one": 9}
            await unit.execute(Insert(LINKS, (ours,)))
            expected = ids(row for row in ROWS if row["number_one"] == 9)
            assert expected
            assert ids(await stored(unit, PAIRS, where)) == expected
        finally:
            await unit.rollback()
        assert await stored(store, PAIRS, where) == []

    @partly_needs("semi_joins")
    async def test_texts_are_read_as_far_as_a_list_may_be_long(self, store: Backend) -> None:
        """Five megabytes of them: in one statement, or refused where they are read first."""
        await _filled(store)
        there = things(Field("text", FieldType(Kind.TEXT)))
        rows = [row_of(at, text=f"{at}" + "x" * 100_000) for at in range(50)]
        await prepare(store, there, *rows)
        where = F.text.in_(Lookup(there, ALL, "text"))
        if store.capabilities.semi_joins:
            assert await store.execute(CountDocuments(there, where)) == len(rows)
            return
        with pytest.raises(InvalidRequestError) as refused:
            await store.execute(CountDocuments(there, where))
        assert refused.value.field == "text"
        assert refused.value.hint
        fewer = F.text.in_(Lookup(there, F.id < identity(20), "text"))
        assert await store.execute(CountDocuments(there, fewer)) == 20

    @pytest.mark.parametrize(
        ("test", "said"),
        [
            (F.owner_one.in_(Lookup(LINKS, ALL, "number_one")), "uuid and integer"),
            (F.moment_one.in_(Lookup(LINKS, ALL, "moment_ms_one")), "datetime in milliseconds"),
            (F.level_one.in_(Lookup(LINKS, ALL, "label_one")), "enum of 3 members and text"),
            (F.owner_one == Lookup(LINKS, ALL, "owner_one"), "needs a value"),
            (
                Test("number_one", Operator.GT, Lookup(LINKS, ALL, "number_one")),
                "needs a value",
            ),
            (
                Test("text_one", Operator.CONTAINS, Lookup(LINKS, ALL, "text_one")),
                "needs a value",
            ),
        ],
    )
    async def test_what_has_no_meaning_is_refused(
        self, store: Backend, test: Filter, said: str
    ) -> None:
        """Fields that do not compare alike everywhere, and operators but in and not in."""
        for where in (test, ~test):
            with pytest.raises(InvalidRequestError) as refused:  # before any I/O: nothing is there
                await store.execute(Find(PAIRS, where))
            assert said in refused.value.message
            assert refused.value.hint
            assert (refused.value.entity, refused.value.backend) == ("Pair", store.name)
            assert refused.value.field

    async def test_places_and_json_are_refused_and_so_is_what_is_not_there(
        self, store: Backend
    ) -> None:
        """Decimals of other places, JSON, unknown fields inside, values of another kind inside."""
        there = things(
            Field("price", decimal_of(12, 2)),
            Field("cost", decimal_of(12, 4)),
            Field("data", FieldType(Kind.JSON), nullable=True),
        )
        for where in (
            F.price.in_(Lookup(there, ALL, "cost")),
            F.data.in_(Lookup(there, ALL, "data")),
        ):
            with pytest.raises(InvalidRequestError, match="cannot be looked up"):
                await store.execute(Find(there, where))
        for where in (
            F.price.in_(Lookup(there, ALL, "prize")),
            F.price.in_(Lookup(there, F.prize == 1, "price")),
        ):
            with pytest.raises(UnknownFieldError, match="prize"):
                await store.execute(Find(there, where))
        with pytest.raises(InvalidRequestError) as refused:
            await store.execute(Find(there, F.cost.in_(Lookup(LINKS, F.first == "x", "dose_one"))))
        assert (refused.value.entity, refused.value.field) == ("Link", "first")

    async def test_a_definition_looks_nothing_up(self, store: Backend) -> None:
        """A check, and the part that an index holds: what a document says by itself."""
        del store
        rule = F.number.in_(Lookup(LINKS, ALL, "first"))
        for each in (rule, ~rule, (F.number > 0) | rule):
            for parts in (
                {"checks": (Check("known", each),)},
                {"indexes": (Index("number", where=each),)},
            ):
                with pytest.raises(
                    ConfigurationError, match="looks something up in Link"
                ) as refused:
                    replace(things(Field("number", NUMBER)), **parts)
                assert refused.value.hint

    async def test_a_collection_that_is_not_there_is_told(self, store: Backend) -> None:
        """As where it is asked by itself: there is no answer from one of two."""
        await store.execute(Ensure((PAIRS,)))
        missing = things(Field("number", NUMBER))
        for operator in _LISTED:
            with pytest.raises(ConfigurationError):
                await store.execute(
                    Find(PAIRS, Test("first", operator, Lookup(missing, ALL, "number")))
                )

    @needs_alterations
    async def test_definitions_of_both_are_held_against_the_store(self, store: Backend) -> None:
        """One that serves is looked up in as it is stored; another one is refused."""
        before = things(Field("number", NUMBER), Field("name", LABEL, nullable=True))
        await prepare(store, before, *(row_of(at, number=at, name=None) for at in range(4)))
        after = replace(before, fields=(*before.fields, Field("rank", NUMBER, default=3)))
        other = replace(before, fields=(*before.fields, Field("gone", NUMBER)))
        await store.execute(Ensure((PAIRS,)))
        await add(store, PAIRS, *ROWS)
        program = GuardLayer(CatalogLayer(store))

        def asked(known: Collection) -> CountDocuments:
            return CountDocuments(PAIRS, F.first.not_in(Lookup(known, F.number > 0, "number")))

        wanted = len([row for row in ROWS if row["first"] == 0])
        assert await program.execute(asked(before)) == wanted
        await store.execute(Alter(before, after, ChangeEffect.ADDITIVE))
        for known in (before, after):
            assert await program.execute(asked(known)) == wanted
            assert await GuardLayer(CatalogLayer(store)).execute(asked(known)) == wanted
        with pytest.raises(ConfigurationError):
            await program.execute(asked(other))

    # --- repositories ------------------------------------------------------------------------

    async def test_a_query_of_a_repository_is_looked_up_in(self, store: Backend) -> None:
        """In every verb that takes filters; nothing is read before."""
        links, metrics = await _surgery(store)
        query = links.query(F.doctor_id == identity(1), _Link.active == True)  # noqa: E712 - a filter
        for patients in (
            query.field("patient_id"),
            query.field(F.patient_id),
            query.field(_Link.patient_id),
        ):
            assert patients == query.field("patient_id")
            where = F.user_id.in_(patients)
            page = await metrics.find(where, order=["value"])
            assert [each.value for each in page] == [0, 1, 3, 6]
            first = await metrics.first(where, order=["-value"])
            last = await metrics.last(where, order=["-value"])
            assert (first and first.value, last and last.value) == (6, 0)
            assert await metrics.exists(where, F.value == 3)
            assert not await metrics.exists(where, F.value == 2)
            assert await metrics.count(where) == 4
            streamed = metrics.stream(where, order=["value"], page_size=3)
            assert [each.value async for each in streamed] == [0, 1, 3, 6]
            (row,) = await metrics.aggregate(where, n=Count())
            assert row == {"n": 4}
            rest = await metrics.find(~field(_Metric.user_id).in_(patients), order=["value"])
            assert [each.value for each in rest] == [2, 4, 5]
        nobody = links.query(F.doctor_id == identity(2)).field("patient_id")
        assert [each.value for each in await metrics.find(F.user_id.in_(nobody))] == [3, 5, 6]
        assert await metrics.count(F.user_id.not_in(nobody)) == 4
        doctors = links.query(F.patient_id.in_(metrics.query(F.value == 2).field("user_id")))
        assert await metrics.count(F.user_id.in_(doctors.field("patient_id"))) == 1

    async def test_a_position_belongs_to_the_query_inside_too(self, store: Backend) -> None:
        """Pages go on with other values inside, and are refused for another query inside."""
        links, metrics = await _surgery(store)

        def where(*inner: Filter, name: str = "patient_id") -> Filter:
            return F.user_id.in_(links.query(*inner).field(name))

        mine = where(F.doctor_id == identity(1))
        page = await metrics.find(mine, order=["value"], limit=2)
        assert page.next is not None
        rest = await metrics.find(mine, order=["value"], limit=9, after=page.next)
        assert [each.value for each in (*page, *rest)] == [0, 1, 2, 3, 6]
        back = await metrics.find(mine, order=["value"], limit=2, after=rest.previous)
        assert back.items == page.items
        moved = where(F.doctor_id == identity(2))
        others = await metrics.find(moved, order=["value"], limit=9, after=page.next)
        assert [each.value for each in others] == [3, 5, 6]
        for another in (
            where(),
            where(F.doctor_id != identity(1)),
            where(F.active == True),  # noqa: E712 - a filter
            where(F.doctor_id == identity(1), name="id"),
            F.user_id.in_(metrics.query(F.user_id == identity(1)).field("user_id")),
        ):
            with pytest.raises(InvalidRequestError, match="does not belong"):
                await metrics.find(another, order=["value"], after=page.next)

    @needs_transactions
    async def test_a_query_is_read_where_it_is_used(self, store: Backend) -> None:
        """One of the store's repositories in a unit sees what the unit has written."""
        links, metrics = await _surgery(store)
        mine = links.query(F.doctor_id == identity(9))
        async with transaction(store, UnitOptions()) as unit:
            where = F.user_id.in_(mine.field("patient_id"))
            assert await unit.repository(_Metric).count(where) == 0
            new = _Link(doctor_id=identity(9), patient_id=identity(1))
            await unit.repository(_Link).add(new)
            assert await unit.repository(_Metric).count(where) == 2
            theirs = unit.repository(_Link).query(F.doctor_id == identity(9)).field("patient_id")
            assert await unit.repository(_Metric).count(F.user_id.in_(theirs)) == 2
        assert await metrics.count(where) == 2

    async def test_wrong_queries_are_refused_at_once(self, store: Backend) -> None:
        """Another manager's, a field of another class, and no field at all: before any I/O."""
        links, metrics = Repository(_Link, store), Repository(_Metric, store)
        elsewhere = Repository(_Link, GuardLayer(store)).query().field("patient_id")
        for filters_ in ((F.user_id.in_(elsewhere),), (F.value > 0, ~F.user_id.in_(elsewhere))):
            with pytest.raises(InvalidRequestError, match="of another manager") as refused:
                await metrics.count(*filters_)
            assert refused.value.hint
            with pytest.raises(InvalidRequestError, match="of another manager"):
                metrics.query(*filters_)
        with pytest.raises(InvalidRequestError, match="another entity"):
            links.query().field(_Metric.user_id)
        with pytest.raises(InvalidRequestError, match="another entity"):
            links.query(_Metric.value == 3)
        with pytest.raises(UnknownFieldError, match="patient_id"):
            links.query().field("patent_id")
        wrong: Value = 3
        with pytest.raises(InvalidRequestError):
            links.query().field(wrong)
