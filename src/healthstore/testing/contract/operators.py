"""What a change asks of a field instead of a value: to add, to append, to keep the larger one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Annotated, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, JsonValue, field_validator

from healthstore.abc import Backend
from healthstore.entity import Digits, Entity, MaxLength, Milliseconds, collection_of, uuid7
from healthstore.errors import (
    DuplicateKeyError,
    HealthstoreError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    NotNullError,
    Outcome,
    OutOfRangeError,
    RefusedValueError,
    StaleVersionError,
)
from healthstore.model.evaluate import equal_json
from healthstore.model.operators import (
    Add,
    Append,
    AtLeast,
    AtMost,
    Exclude,
    Include,
    Merge,
    Now,
)
from healthstore.model.ops import Ensure, Patch, Patches
from healthstore.model.query import F, FieldPart
from healthstore.model.schema import Unique
from healthstore.model.values import Value
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, laws, needs_transactions, proves

__all__ = ("TestOperators",)


class _Trend(Entity, collection="contract_trends"):
    food: Annotated[str, Unique(), MaxLength(50)]
    barcode: Annotated[str, Unique(), MaxLength(50)] | None = None
    scans: int = 0
    spent: Annotated[Decimal, Digits(12, 2)] = Decimal(0)
    watched: timedelta | None = None
    note: str | None = None


class _Message(BaseModel):
    text: str
    sent: AwareDatetime | None = None


class _Chat(Entity, collection="contract_chats"):
    title: str = ""
    messages: list[_Message] = Field(default=[])
    tags: list[JsonValue] | None = None
    preferences: dict[str, JsonValue] | None = None
    likes: int | None = 0
    ratio: float | None = None
    spent: Annotated[Decimal, Digits(12, 2)] | None = None
    large: Annotated[Decimal, Digits(28, 10)] | None = None
    watched: timedelta | None = None
    day: date | None = None
    seen_at: AwareDatetime | None = None
    noted_at: Annotated[AwareDatetime, Milliseconds()] | None = None
    best: int = 0


class _Score(Entity, collection="contract_scores"):
    points: Annotated[int, Field(ge=0, le=100)] = 0
    names: list[str] = Field(default=[])

    @field_validator("names")
    @classmethod
    def _sorted(cls, names: list[str]) -> list[str]:
        return sorted(names)


_NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
# Each: a field, and values of it in order.
_ORDERED: tuple[tuple[str, tuple[Value, ...]], ...] = (
    ("likes", (-(2**63), -1, 0, 2**53 + 1, 2**63 - 1)),
    ("ratio", (-1e300, -0.5, 0.0, 5e-324, 0.1, 1e16, 1.7976931348623157e308)),
    (
        "spent",
        (Decimal("-9999999999.99"), Decimal("-0.01"), Decimal(0), Decimal("9.5"), Decimal(10)),
    ),
    ("large", (Decimal("-0.0000000001"), Decimal(0), Decimal("999999999999999999.9999999999"))),
    ("watched", (timedelta(-1), timedelta(0), timedelta(0, 0, 1), timedelta(99_999))),
    ("day", (date(1, 1, 2), date(999, 12, 31), date(2026, 3, 29), date(9999, 12, 30))),
    (
        "seen_at",
        (
            datetime(1, 1, 2, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
            datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
        ),
    ),
    (
        "noted_at",
        (datetime(1900, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)),
    ),
)


async def _chats(store: Backend) -> Repository[_Chat]:
    await store.execute(Ensure((collection_of(_Chat),)))
    return Repository(_Chat, store, clock=lambda: _NOW)


async def _trends(store: Backend) -> Repository[_Trend]:
    await store.execute(Ensure((collection_of(_Trend),)))
    return Repository(_Trend, store)


class TestOperators(Contract):
    """``update(id, {"likes": Add(1)})``, ``upsert(trend, on="food", add=["scans"])``."""

    @proves("A1", "J9")
    async def test_operators_go_together(self, store: Backend) -> None:
        """In one update with values and paths, each of the document as it was."""
        chats = await _chats(store)
        chat = await chats.add(_Chat(tags=["x"], preferences={"a": 1, "b": {"c": 2}}, best=3))
        message = _Message(text="hi", sent=_NOW)
        after = await chats.update(
            chat.id,
            {
                "title": "t",
                "messages": Append(message),
                "preferences": Merge({"theme": "dark", "b": None}),
                "likes": Add(2),
                "tags": Include("y"),
                "best": AtLeast(9),
                "seen_at": Now(),
                "watched": AtMost(timedelta(1)),
            },
        )
        assert after.messages == [message]
        assert after.preferences == {"a": 1, "b": None, "theme": "dark"}
        assert (after.title, after.likes, after.tags, after.best) == ("t", 2, ["x", "y"], 9)
        assert (after.seen_at, after.updated_at) == (_NOW, _NOW)
        assert (after.watched, after.version) == (timedelta(1), 2)
        assert await chats.get(chat.id) == after

    @proves("A3", "V6")
    @pytest.mark.parametrize(("name", "values"), _ORDERED, ids=[name for name, _ in _ORDERED])
    async def test_the_larger_and_the_smaller_one_are_kept(
        self, store: Backend, name: str, values: tuple[Value, ...]
    ) -> None:
        """Of each two values, exactly, whichever is there; instead of None it is the other one."""
        chats = await _chats(store)
        chat = await chats.add(_Chat())
        for there, bound in product((None, *values), values):
            for operator, keep in ((AtLeast, max), (AtMost, min)):
                await chats.update(chat.id, {name: there})
                after = await chats.update(chat.id, {name: operator(cast("int", bound))})
                wanted = bound if there is None else keep(cast(int, there), cast(int, bound))
                assert getattr(after, name) == wanted
                assert await chats.count(F[name] == wanted) == 1
                assert await chats.get(chat.id) == after

    @proves("A3")
    async def test_bounds_go_with_increments_and_versions(self, store: Backend) -> None:
        """One patch sets, adds and keeps; a stale version changes nothing, a missing id is told."""
        chats = await _chats(store)
        chat = await chats.add(_Chat(likes=5))
        changes = {"likes": Add(-7), "ratio": AtMost(0.5), "best": AtLeast(-1), "title": "x"}
        after = await chats.update(chat.id, changes, version=1)
        assert (after.likes, after.ratio, after.best, after.title) == (-2, 0.5, 0, "x")
        with pytest.raises(StaleVersionError):
            await chats.update(chat.id, changes, version=1)
        with pytest.raises(NotFoundError):
            await chats.update(uuid7(), changes)
        assert await chats.get(chat.id) == after

    @proves("T5")
    async def test_many_at_once_lose_nothing(self, store: Backend) -> None:
        """Of rivals each adds, appends and keeps the largest: what is there holds them all."""
        chats = await _chats(store)
        chat = await chats.add(_Chat())
        await asyncio.gather(
            *(
                chats.update(chat.id, {"likes": Add(at), "best": AtLeast(at), "ratio": AtMost(at)})
                for at in range(1, 9)
            ),
            *(chats.update(chat.id, {"tags": Include(at % 4)}) for at in range(8)),
        )
        found = await chats.get(chat.id)
        assert found is not None
        assert (found.likes, found.best, found.ratio, found.version) == (36, 8, 1.0, 17)
        assert sorted(cast("list[int]", found.tags)) == [0, 1, 2, 3]

    @needs_transactions
    async def test_patches_that_go_together_keep_bounds(self, store: Backend) -> None:
        """Joint updates of several documents, and several of one, mean what each means alone."""
        chats = await _chats(store)
        collection = collection_of(_Chat)
        rows = [await chats.add(_Chat(best=at, day=None)) for at in range(3)]
        day = date(2026, 1, 1)

        def patch(chat: _Chat, best: int) -> Patch:
            return Patch(
                collection,
                (chat.id,),
                (("title", "x"),),
                (("likes", best), ("version", 1)),
                at_least=(("best", best),),
                at_most=(("day", day), ("ratio", float(best))),
            )

        done = await store.execute(Patches(collection, tuple(patch(each, 1) for each in rows)))
        assert [(each[0]["best"], each[0]["day"]) for each in done if each] == [
            (1, day),
            (1, day),
            (2, day),
        ]
        twice = Patches(collection, (patch(rows[0], 3), patch(rows[0], 2)))
        (_, last) = await store.execute(twice)
        assert last is not None
        assert (last[0]["best"], last[0]["ratio"], last[0]["likes"]) == (3, 1.0, 6)
        several = Patch(
            collection,
            tuple(each.id for each in rows),
            increments=(("version", 1),),
            at_most=(("ratio", -1.0),),
            at_least=(("best", 3),),
        )
        found = await store.execute(several)
        assert [(each["best"], each["ratio"]) for each in found if each] == [(3, -1.0)] * 3

    @proves("J3", "V10")
    async def test_elements_are_compared_as_json(self, store: Backend) -> None:
        """1 equals 1.0 and no bool; objects equal in any order of keys; None counts as empty."""
        chats = await _chats(store)
        chat = await chats.add(_Chat())
        steps: tuple[tuple[object, list[JsonValue]], ...] = (
            (Exclude(1), []),
            (Include(1), [1]),
            (Include(1.0), [1]),
            (Include(element=True), [1, True]),
            (Append(1.0), [1, True, 1.0]),
            (Append({"a": 1, "b": [None]}), [1, True, 1.0, {"a": 1, "b": [None]}]),
            (Include({"b": [None], "a": 1.0}), [1, True, 1.0, {"a": 1, "b": [None]}]),
            (Append(None), [1, True, 1.0, {"a": 1, "b": [None]}, None]),
            (Include(None), [1, True, 1.0, {"a": 1, "b": [None]}, None]),
            (Exclude(1), [True, {"a": 1, "b": [None]}, None]),
            (Append([]), [True, {"a": 1, "b": [None]}, None, []]),
            (Exclude({"a": 1, "b": [None]}), [True, None, []]),
            (Exclude(None), [True, []]),
            (Exclude("x"), [True, []]),
        )
        for operator, wanted in steps:
            after = await chats.update(chat.id, {"tags": operator})
            assert repr(after.tags) == repr(wanted)
            assert await chats.get(chat.id) == after

    @proves("J9")
    async def test_operators_change_a_part(self, store: Backend) -> None:
        """At a path, too: what is missing on the way is made, the rest stays."""
        chats = await _chats(store)
        chat = await chats.add(_Chat())
        first: dict[str | FieldPart, object] = {
            F.preferences["a"]["tags"]: Append("x"),
            F.preferences["b"]: Merge({"c": None}),
        }
        await chats.update(chat.id, first)
        after = await chats.update(chat.id, {F.preferences["a"]["tags"]: Include("y")})
        assert after.preferences == {"a": {"tags": ["x", "y"]}, "b": {"c": None}}
        for path in (F.preferences["a"], F.preferences["a"]["tags"][0]):
            with pytest.raises(IntegrityError) as refused:
                await chats.update(chat.id, {path: Append(1)})
            assert refused.value.field == "preferences"
        assert await chats.get(chat.id) == after

    @proves("A1", "A2")
    async def test_what_does_not_fit_changes_nothing(self, store: Backend) -> None:
        """A sum beyond 64 bits, None and a number, no list, no object: it is as it was."""
        chats = await _chats(store)
        chat = await chats.add(
            _Chat(likes=2**63 - 1, preferences={"a": 1}, tags=[], spent=Decimal("9999999999.99"))
        )
        wrong: tuple[tuple[str, object, type[HealthstoreError]], ...] = (
            ("likes", Add(1), OutOfRangeError),
            ("spent", Add(Decimal("0.01")), OutOfRangeError),
            ("ratio", Add(0.5), NotNullError),
            ("watched", Add(timedelta(1)), NotNullError),
            ("preferences", Append(1), IntegrityError),
            ("preferences", Include(1), IntegrityError),
            ("preferences", Exclude(1), IntegrityError),
            ("tags", Merge({"a": 1}), IntegrityError),
        )
        for name, operator, kind in wrong:
            with pytest.raises(kind) as refused:
                await chats.update(chat.id, {"title": "changed", name: operator})
            assert type(refused.value) is kind
            assert (refused.value.field, refused.value.backend) == (name, store.name)
            assert refused.value.outcome is Outcome.NOT_APPLIED
        assert await chats.get(chat.id) == chat

    async def test_the_wrong_operator_is_refused_first(self, store: Backend) -> None:
        """One that has no meaning for its field, or no value that fits: before any I/O."""
        chats = Repository(_Chat, store)  # of a document that is not there: nobody looks
        wrong: tuple[tuple[Mapping[object, object], type[HealthstoreError]], ...] = (
            ({"title": Add(1)}, InvalidRequestError),
            ({"title": AtLeast(1)}, InvalidRequestError),
            ({"tags": Add(1)}, InvalidRequestError),
            ({"tags": AtMost(1)}, InvalidRequestError),
            ({"title": Append("x")}, InvalidRequestError),
            ({"likes": Include(1)}, InvalidRequestError),
            ({"seen_at": Exclude(1)}, InvalidRequestError),
            ({"title": Merge({})}, InvalidRequestError),
            ({"day": Now()}, InvalidRequestError),
            ({"likes": Now()}, InvalidRequestError),
            ({"version": Add(1)}, InvalidRequestError),
            ({"nothing": Add(1)}, InvalidRequestError),
            ({"likes": Add(cast(int, None))}, InvalidRequestError),
            ({"likes": AtLeast(cast(int, None))}, InvalidRequestError),
            ({"preferences": Merge(cast("dict[str, object]", [1]))}, InvalidRequestError),
            ({"preferences": Merge(cast("dict[str, object]", {1: 1}))}, InvalidRequestError),
            ({"preferences": Merge({}), F.preferences["a"]: 1}, InvalidRequestError),
            ({F.preferences["a"]: Append(1), F.preferences: 1}, InvalidRequestError),
            ({F.preferences["a"]: Add(1)}, InvalidRequestError),
            ({F.preferences["a"]: AtLeast(1)}, InvalidRequestError),
            ({F.preferences["a"]: Now()}, InvalidRequestError),
            ({F.title["a"]: Append(1)}, InvalidRequestError),
            ({"likes": Add(0.5)}, RefusedValueError),
            ({"likes": Add(cast(int, "1"))}, RefusedValueError),
            ({"best": AtLeast(cast(int, "many"))}, RefusedValueError),
            ({"best": AtMost(2**63)}, RefusedValueError),
            ({"seen_at": AtLeast(datetime(2026, 1, 1))}, RefusedValueError),  # noqa: DTZ001 - naive
            ({"tags": Append(object())}, RefusedValueError),
            ({"tags": Include(float("nan"))}, RefusedValueError),
            ({"tags": Exclude(2**63)}, RefusedValueError),
            ({"preferences": Merge({"a": "\x00"})}, RefusedValueError),
            ({F.preferences["a"]: Append("\x00")}, RefusedValueError),
        )
        for changes, kind in wrong:
            with pytest.raises(kind) as refused:
                await chats.update(uuid7(), cast("Mapping[str | FieldPart, object]", changes))
            assert type(refused.value) is not NotFoundError
            assert refused.value.entity == "_Chat"
            assert refused.value.hint or kind is RefusedValueError

    @proves("A12")
    async def test_now_is_the_clock_of_the_program(self, store: Backend) -> None:
        """An instant of the write, cut off where the field keeps milliseconds."""
        chats = await _chats(store)
        chat = await chats.add(_Chat())
        after = await chats.update(chat.id, {"seen_at": Now(), "noted_at": Now()})
        assert after.seen_at == _NOW
        assert after.noted_at == _NOW.replace(microsecond=123000)

    async def test_validators_see_what_operators_make(self, store: Backend) -> None:
        """What they make of it is stored; what constraints and types refuse is not."""
        await store.execute(Ensure((collection_of(_Score),)))
        scores = Repository(_Score, store)
        score = await scores.add(_Score(points=50))
        after = await scores.update(score.id, {"names": Append("b"), "points": Add(50)})
        after = await scores.update(score.id, {"names": Append("a"), "points": AtMost(90)})
        assert (after.names, after.points) == (["a", "b"], 90)
        for changes in (
            {"points": Add(11)},
            {"points": AtLeast(101)},
            {"points": AtMost(-1)},
            {"names": Append(7)},
        ):
            with pytest.raises(RefusedValueError):
                await scores.update(score.id, changes)
        assert await scores.get(score.id) == after

    @laws
    @given(
        tags=st.none() | st.lists(st.sampled_from([0, 1, 1.0, True, False, None, "1", [1], {}])),
        element=st.sampled_from([0, 0.0, 1, 1.0, True, None, "1", [1.0], {}, {"a": 1}]),
    )
    async def test_laws_of_lists(
        self, store: Backend, tags: list[JsonValue] | None, element: JsonValue
    ) -> None:
        """Including twice is including once; what is excluded is not there; appending adds one."""
        chats = await _chats(store)
        chat = await chats.add(_Chat(tags=tags))
        appended = await chats.update(chat.id, {"tags": Append(element)})
        assert repr(appended.tags) == repr([*(tags or []), element])
        await chats.update(chat.id, {"tags": tags})
        once = await chats.update(chat.id, {"tags": Include(element)})
        twice = await chats.update(chat.id, {"tags": Include(element)})
        assert repr(once.tags) == repr(twice.tags)
        assert any(equal_json(each, element) for each in once.tags or [])
        without = await chats.update(chat.id, {"tags": Exclude(element)})
        kept = [each for each in tags or [] if not equal_json(each, element)]
        assert repr(without.tags) == repr(kept)
        again = await chats.update(chat.id, {"tags": Exclude(element)})
        assert repr(again.tags) == repr(kept)

    @proves("W3", "W4")
    async def test_an_upsert_adds_the_named_numbers(self, store: Backend) -> None:
        """Where the key is there they are added exactly, and all else is set; else it is an add."""
        trends = await _trends(store)
        names = ["scans", "spent", "watched"]
        first = _Trend(food="fig", scans=2, spent=Decimal("0.10"), watched=timedelta(0, 1, 1))
        assert await trends.upsert(first, on="food", add=names) == first
        again = _Trend(
            food="fig", scans=3, spent=Decimal("0.20"), watched=timedelta(1), note="ripe"
        )
        counted = await trends.upsert(again, on="food", add=names)
        assert (counted.scans, counted.spent) == (5, Decimal("0.30"))
        assert counted.watched == timedelta(1, 1, 1)
        assert (counted.id, counted.note, counted.version) == (first.id, "ripe", 2)
        assert await trends.get(first.id) == counted

    @proves("W4")
    async def test_upserts_that_count_lose_nothing(self, store: Backend) -> None:
        """Of many at once each is counted: the first one adds, the others add to it."""
        trends = await _trends(store)
        await asyncio.gather(
            *(
                trends.upsert(_Trend(food="fig", scans=at), on="food", add=["scans"])
                for at in range(1, 9)
            )
        )
        (found,) = await trends.find(limit=10)
        assert (found.scans, found.version) == (36, 8)

    @proves("A2", "W3")
    async def test_an_upsert_that_cannot_add_changes_nothing(self, store: Backend) -> None:
        """The stored one is None, a sum does not fit, another key is taken: it is as it was."""
        trends = await _trends(store)
        kept = await trends.add(_Trend(food="fig", scans=2**63 - 2, barcode="1"))
        await trends.add(_Trend(food="nut", barcode="2"))
        wrong: tuple[tuple[_Trend, str, type[HealthstoreError]], ...] = (
            (_Trend(food="fig", watched=timedelta(1)), "watched", NotNullError),
            (_Trend(food="fig", scans=2), "scans", OutOfRangeError),
            (_Trend(food="fig", barcode="2"), "scans", DuplicateKeyError),
        )
        for trend, name, kind in wrong:
            with pytest.raises(kind) as refused:
                await trends.upsert(trend, on="food", add=[name])
            assert refused.value.backend == store.name
            assert refused.value.outcome is Outcome.NOT_APPLIED
        assert await trends.get(kept.id) == kept

    @proves("W4")
    async def test_an_upsert_adds_numbers_only(self, store: Backend) -> None:
        """No text, no key, nothing of the library, nothing twice, no None: before any I/O."""
        trends = Repository(_Trend, store)  # of a collection that may not be there: nobody looks
        wrong = (["note"], ["food"], ["version"], ["scans", "scans"], ["nothing"], ["watched"])
        for names in (*wrong, cast("list[str]", "scans"), cast("list[str]", 7)):
            with pytest.raises(InvalidRequestError) as refused:
                await trends.upsert(_Trend(id=uuid7(), food="fig"), on="food", add=names)
            assert refused.value.hint
