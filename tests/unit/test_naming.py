"""A field is named alike wherever a question names one: by a text, by ``F``, by its class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import pytest
from pydantic import AwareDatetime

from healthstore import (
    Avg,
    Bucket,
    Children,
    Count,
    DatabaseManager,
    Entity,
    F,
    First,
    Index,
    Max,
    MaxLength,
    Ref,
    Repository,
    Search,
    Unique,
    asc,
    desc,
)
from healthstore.entity import collection_of
from healthstore.errors import ConfigurationError, InvalidRequestError
from healthstore.filters import parse

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Owner(Entity, collection="naming_owners"):
    number: int


class Log(Entity, collection="naming_logs", indexes=[Search("note")]):
    number: int
    note: str = "soup"
    at: AwareDatetime
    tags: list[str]
    owner_id: Annotated[UUID, Ref(Owner)]


Asked: TypeAlias = Callable[[Repository[Log], Any, Any, Any, Any, Any], Awaitable[object]]


@pytest.fixture
async def logs() -> AsyncGenerator[Repository[Log], None]:
    """Lend a repository with three logs, in memory."""
    async with DatabaseManager("memory://") as db:
        await db.initialize(Owner, Log)
        owner = await db.repository(Owner).add(Owner(number=1))
        await db.repository(Log).add_many(
            Log(number=at, at=NOON + timedelta(days=at), tags=["a", "b"][:at], owner_id=owner.id)
            for at in (2, 1, 0)
        )
        yield db.repository(Log)


async def _streamed(logs: Repository[Log], number: object, at: object) -> list[object]:
    groups = logs.aggregate_stream(group=[number, Bucket(at, "day", tz="UTC")], n=Count(number))  # type: ignore[list-item]  # what a checker takes for a value
    return [each async for each in groups]


ASKED: tuple[Asked, ...] = (
    lambda logs, number, *_: logs.find(order=[number]),
    lambda logs, number, *_: logs.find(order=[desc(number), asc("id")]),
    lambda logs, number, *_: logs.search("soup", order=[number]),
    lambda logs, number, *_: logs.select("number", order=[number]),
    lambda logs, number, *_: logs.select("number", order=[number], distinct=True),
    lambda logs, number, *_: logs.first(order=[number]),
    lambda logs, number, *_: logs.last(order=[number]),
    lambda logs, number, *_: logs.explain(order=[number]),
    lambda logs, number, at, *_: logs.latest(per=[number], by=at),
    lambda logs, number, *_: logs.aggregate(group=[number], n=Count(), order=[number]),
    lambda logs, number, at, *_: logs.aggregate(n=Avg(number), first=First(number, by=at)),
    lambda logs, _, at, *__: logs.aggregate(group=[Bucket(at, "day", tz="UTC")], n=Count()),
    lambda logs, number, at, *_: _streamed(logs, number, at),
    lambda logs, _, __, tags, *___: logs.aggregate(unwind=tags, group=[tags], n=Max(tags)),
    lambda logs, number, _, __, owner, *___: logs.find(order=[number], include=[owner]),
    lambda logs, number, _, __, ___, note: logs.find(
        parse({"field": "note", "op": "==", "value": "soup"}, Log, allow=[note, number]),
        order=["number"],
    ),
)


def _told(answer: object) -> object:
    return getattr(answer, "items", answer) if not isinstance(answer, dict) else answer


@pytest.mark.parametrize("at", range(len(ASKED)))
async def test_a_field_is_named_by_a_text_by_f_or_by_its_class(
    logs: Repository[Log], at: int
) -> None:
    """The answers are the same."""
    names = ("number", "at", "tags", "owner_id", "note")
    by_text = await ASKED[at](logs, *names)
    by_f = await ASKED[at](logs, *(F[each] for each in names))
    by_class = await ASKED[at](logs, *(getattr(Log, each) for each in names))
    assert _told(by_text) == _told(by_f) == _told(by_class)
    assert _told(by_text)


@pytest.mark.parametrize(
    "asked",
    [
        *(lambda logs: logs.find(order=[Owner.number]),),
        *(lambda logs: logs.find(order=[desc(Owner.number)]),),
        *(lambda logs: logs.last(order=[desc(Owner.number)]),),
        *(lambda logs: logs.search("soup", order=[desc(Owner.number)]),),
        *(lambda logs: logs.select("number", order=[desc(Owner.number)], distinct=True),),
        *(lambda logs: logs.aggregate(group=[Owner.number], n=Count()),),
        *(lambda logs: logs.aggregate(n=Avg(Owner.number)),),
        *(lambda logs: logs.aggregate(n=First("number", by=Owner.number)),),
        *(
            lambda logs: logs.aggregate(
                group=[Bucket(Owner.created_at, "day", tz="UTC")], n=Count()
            ),
        ),
        *(lambda logs: logs.aggregate(unwind=Owner.number, n=Count()),),
        *(lambda logs: logs.find(include=[Owner.number]),),
    ],
)
async def test_a_field_of_another_entity_is_refused_wherever_it_is_named(
    logs: Repository[Log], asked: Callable[[Any], Awaitable[object]]
) -> None:
    """Both entities have a number: the class says which of them is meant."""
    with pytest.raises(InvalidRequestError, match="of another entity") as refused:
        await asked(logs)
    assert refused.value.entity == "Log"
    assert refused.value.hint.startswith("write Log.")


def test_children_are_sorted_by_a_field_of_their_class() -> None:
    """The order of children names fields as every order does."""
    assert [str(each) for each in Children(Log, Log.owner_id, order=[desc(Log.number)]).order] == [
        "-number",
        "id",
    ]
    with pytest.raises(InvalidRequestError, match="of another entity"):
        Children(Log, Log.owner_id, order=[desc(Owner.number)])


def test_a_definition_names_fields_by_f() -> None:
    """An index, a unique key and a search of ``F.name`` are those of ``"name"``."""

    class ByText(Entity, collection="named", indexes=[Index("a", "b"), Unique("b"), Search("c")]):
        a: int
        b: int
        c: str

    class ByF(Entity, collection="named", indexes=[Index(F.a, F.b), Unique(F.b), Search(F.c)]):
        a: int
        b: int
        c: str

    assert collection_of(ByText) == collection_of(ByF)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Index(F.data["weight"]),
        lambda: Index(desc("name")),  # type: ignore[arg-type]  # what is tested
        lambda: Unique(5),  # type: ignore[arg-type]  # what is tested
        lambda: Search(None),  # type: ignore[arg-type]  # what is tested
    ],
)
def test_what_names_no_field_is_refused_where_it_stands(make: Callable[[], object]) -> None:
    """A part of JSON of any type, a sort key, a number: the hint says what to write."""
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert refused.value.hint


NOTED: tuple[tuple[Any, str], ...] = (
    (Annotated[str, MaxLength(9), Unique], "Unique"),
    (Annotated[str, MaxLength], "MaxLength"),
    (Annotated[str, MaxLength(9), Index], "Index"),
    (Annotated[str, Search("a")], "Search"),
)


@pytest.mark.parametrize(("annotation", "named"), NOTED)
def test_a_note_that_would_say_nothing_is_refused(annotation: object, named: str) -> None:
    """Without its parentheses a key would be none, and nobody would hear of it."""
    made = type(
        "Noted",
        (Entity,),
        {"__annotations__": {"a": annotation}, "__module__": __name__},
        collection="noted",
    )
    with pytest.raises(ConfigurationError, match=named) as refused:
        collection_of(made)
    assert (refused.value.entity, refused.value.field) == ("Noted", "a")
    assert refused.value.hint


@pytest.mark.parametrize("argument", ["indexes", "checks"])
@pytest.mark.parametrize("given", [["a"], "a", [Unique], [None]])
def test_what_is_no_index_and_no_check_is_refused(argument: str, given: Any) -> None:
    """A name alone among the indexes would be dropped without a word."""
    made = type(
        "Listed",
        (Entity,),
        {"__annotations__": {"a": int}, "__module__": __name__},
        collection="listed",
        **{argument: given},
    )
    with pytest.raises(ConfigurationError, match=argument) as refused:
        collection_of(made)
    assert (refused.value.entity, bool(refused.value.hint)) == ("Listed", True)


async def test_the_sizes_of_what_is_read_are_told_by_their_own_names(
    logs: Repository[Log],
) -> None:
    """A stream speaks of its page size, a plan takes what a find takes, and ids are a list."""
    for wrong in (0, -1, None, True, 20_000, "5"):
        with pytest.raises(InvalidRequestError, match="page size"):
            [each async for each in logs.stream(page_size=wrong)]  # type: ignore[arg-type]  # what is tested
    assert await logs.explain(limit=None) == await logs.explain(limit=10_000)
    for none in (0, 10_001, True):
        with pytest.raises(InvalidRequestError) as refused:
            await logs.explain(limit=none)
        assert refused.value.hint
    with pytest.raises(InvalidRequestError, match="a set, and no list"):
        await logs.get_many({(await logs.first()).id})  # type: ignore[arg-type, union-attr]  # what is tested
