"""What mypy and pyright must infer for a user's code; it is checked, never run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, NamedTuple, assert_type
from uuid import UUID

import alembic.op
from sqlalchemy import Connection, MetaData

from healthstore import (
    Add,
    Append,
    AtLeast,
    Children,
    Count,
    DatabaseManager,
    Entity,
    Exclude,
    F,
    Include,
    MaxLength,
    Merge,
    Now,
    Unique,
    asc,
    desc,
    field,
)
from healthstore.alembic import metadata, stamp
from healthstore.filters import parse
from healthstore.model.query import Lookup
from healthstore.model.values import Value
from healthstore.repository import Repository
from healthstore.schema import Text, collection
from healthstore.series import bucket_of, change, fill, gaps, rolling_mean


class User(Entity, collection="users"):
    """An entity as a user writes it."""

    email: Annotated[str, Unique(), MaxLength(255)]
    first_name: str | None = None


@dataclass
class Row:
    """A row of a selection as a user writes it."""

    email: str


class Named(NamedTuple):
    """Another one."""

    email: str


async def a_repository_knows_its_entity(db: DatabaseManager) -> None:
    """Infer the class of the entity in every answer, without an annotation."""
    users = db.repository(User)
    assert_type(users, Repository[User])

    ann = await users.add(User(email="ann@example.org"))
    assert_type(ann, User)
    assert_type(ann.id, UUID)
    assert_type(ann.version, int)
    assert_type(await users.first(F.email == "ann@example.org"), User | None)
    changes: dict[str, object] = {"first_name": "Ann"}
    assert_type(await users.update(ann.id, changes), User)
    assert_type(await users.update(ann.id, {F.data["a"]: 1}), User)
    asked: dict[str, object] = {"visits": Add(1), "tags": Include("x"), "seen_at": Now()}
    assert_type(await users.update(ann.id, asked), User)
    assert_type(await users.update(ann.id, {"a": Append({}), "b": Merge({"c": 1})}), User)
    assert_type(await users.update(ann.id, {F.data["a"]: Exclude(1), "b": AtLeast(9)}), User)
    assert_type(await users.upsert(ann, on="email", add=["visits"]), User)
    assert_type(await users.update(ann.id, {F.data["a"]["b"]: 1, "first_name": None}), User)
    assert_type(await users.count(), int)
    assert_type(await users.exists(F.email == "ann@example.org"), bool)
    assert_type(await users.count(parse({}, User, allow=["email"])), int)

    page = await users.find(F.first_name == "Ann", order=["email", desc("created_at")], limit=10)
    for user in page:
        assert_type(user, User)
    assert_type(page.related(User), Mapping[UUID, User])
    newest = Children(User, "email", order=[desc("created_at")], limit=3)
    assert_type(newest, Children[User])
    assert_type((await users.find(include=["email", newest])).related(newest)[ann.id], list[User])
    for child in page.related(User, "email")[ann.id]:
        assert child.email
    links = users.query(F.first_name == "Ann").field("id")
    assert_type(links, Lookup)
    await users.find(F.id.in_(links), ~field(User.id).not_in(links))
    Children("users", "email")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await users.last(order=[asc("email", nulls="last")]), User | None)
    async for user in users.stream(F.first_name == "Ann"):
        assert_type(user, User)
    await users.find(User.email == "ann@example.org", field(User.first_name).contains("A"))
    await users.find(User.version >= 2, order=[desc(User.email)])
    await users.find(User.emial == "x")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await users.find(User.version >= "2")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]

    assert_type(await users.latest(per=[User.first_name], by="created_at"), list[User])
    assert_type(await users.select("id", User.email), list[dict[str, object]])
    assert_type(await users.select("email", into=Row), list[Row])
    assert_type(await users.select("email", distinct=True, into=Named, limit=None), list[Named])
    await users.select("email", into="Row")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]

    assert_type(await users.aggregate(group=["email"], n=Count()), list[dict[str, Value]])
    rows = await users.aggregate(group=["email"], n=Count(), having=F.n > 1, order=["-n"], into=Row)
    assert_type(rows, list[Row])

    async with db.transaction() as unit:
        assert_type(unit.repository(User), Repository[User])


def a_revision_of_alembic_takes_what_it_is_given(connection: Connection) -> None:
    """Take Alembic's ``op``, which is a module, or a connection; entities or definitions."""
    assert_type(metadata(User, dialect="sqlite"), MetaData)
    stamp(alembic.op, User)
    stamp(connection, collection("users", {"name": Text(40)}), dropped=["visits"])


def rows_over_time_keep_their_types(rows: list[dict[str, Value]]) -> None:
    """Infer what an aggregate's rows hold, also after they were filled and averaged."""
    filled = fill(rows, at="day", every="day")
    assert_type(filled, list[dict[str, Value | date | None]])
    assert_type(gaps(filled, at="day", every="day"), list[tuple[date, date]])
    change(rolling_mean(filled, "mean", at="day"), "mean")
    assert_type(bucket_of(date(2025, 3, 30), every="week"), date)
    assert_type(bucket_of(datetime.now(UTC), every="hour", tz="Europe/Berlin"), datetime)
