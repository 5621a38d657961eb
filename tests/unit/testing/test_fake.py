"""Faked entities: accepted by every backend, unique, and the same in every run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, JsonValue, field_validator, model_validator

from healthstore import (
    Check,
    DatabaseManager,
    Digits,
    Entity,
    F,
    Index,
    MaxLength,
    Milliseconds,
    Ref,
    Unique,
)
from healthstore.errors import (
    InvalidRequestError,
    MissingDriverError,
    UnknownFieldError,
)
from healthstore.testing.contract._annotated import Columns, Documents
from healthstore.testing.fake import fake
from healthstore.testing.plugin import LendDatabase

FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


class Role(StrEnum):
    PATIENT = "patient"
    NURSE = "nurse"
    DOCTOR = "doctor"


class Priority(IntEnum):
    LOW = 1
    HIGH = 2


class Address(BaseModel):
    street: str
    number: int = Field(ge=1, le=300)
    since: AwareDatetime
    lines: list[str] = []
    extra: dict[str, JsonValue] = {}


@dataclass(frozen=True)
class Window:
    first: int
    opened: datetime


class User(Entity, collection="users"):
    email: Annotated[str, Unique(), MaxLength(80)]
    first_name: str | None = None
    last_name: Annotated[str, Field(min_length=2, max_length=30)]
    city: str
    phone: Annotated[str, MaxLength(12)] | None = None
    code: Annotated[str, Unique(), MaxLength(8), Field(pattern=r"^[A-Z]{3}-\d{4}$")]
    title: Annotated[str, Field(min_length=60, max_length=70)]
    role: Role
    priority: Priority
    level: Literal["a", "b"]
    born: date
    profile: dict[str, JsonValue] = Field(default_factory=dict)
    address: Address | None = None
    windows: list[Window] = Field(default_factory=list)
    tags: set[str] = Field(default_factory=set)
    pair: tuple[int, str]
    anything: Any = None
    boss_id: Annotated[UUID, Ref("self")] | None = None


class Reading(
    Entity,
    collection="readings",
    indexes=[Unique("user_id", "day"), Index("pulse")],
    checks=[
        Check("pulse", (F.pulse >= 40) & (F.pulse < 60)),
        Check("unit", F.unit.in_(["bpm", "ms"])),
        Check("either", (F.steps < 300) | (F.steps > 900)),
        Check("late", F.taken_at > datetime(2025, 6, 1, tzinfo=UTC)),
    ],
):
    user_id: Annotated[UUID, Ref(User)]
    day: Literal["mon", "tue", "wed", "thu", "fri"]
    pulse: int
    unit: Annotated[str, MaxLength(4)]
    steps: Annotated[int, Field(ge=0, le=1_000)]
    fives: Annotated[int, Field(multiple_of=5, gt=3, lt=12)]
    kg: Annotated[Decimal, Digits(5, 2)] | None = None
    small: Annotated[Decimal, Digits(3, 3), Field(ge=Decimal("0.1"))]
    ratio: Annotated[float, Field(gt=0.001, lt=0.002)]
    at: time
    rested: timedelta
    taken_at: AwareDatetime
    stamp: Annotated[datetime, Milliseconds()]
    reviewer_id: UUID | None = None
    blob: Annotated[bytes, Field(min_length=4, max_length=9)]
    done: bool


SEEDS = st.integers(-(2**63), 2**63)


@pytest.fixture(params=["memory", "sqlite"])
async def db(
    request: pytest.FixtureRequest, healthstore_database: LendDatabase
) -> AsyncIterator[DatabaseManager]:
    """Lend an empty store of each kind."""
    async with (
        healthstore_database(request.param) as lent,
        DatabaseManager(lent.url, layers=lent.layers) as db,
    ):
        await db.initialize(User, Reading)
        yield db


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=SEEDS, count=st.integers(0, 30))
async def test_every_faked_entity_is_accepted(db: DatabaseManager, seed: int, count: int) -> None:
    """add() takes each of them, with its types, limits, unique keys, checks and references."""
    users = fake(User, count, seed=seed)
    readings = fake(Reading, count, seed=seed, user_id=users) if users else []
    for user in users:
        await db.repository(User).add(user)
    for reading in readings:
        await db.repository(Reading).add(reading)
    assert [await db.repository(User).get(each.id) for each in users] == users
    assert [await db.repository(Reading).get(each.id) for each in readings] == readings
    for one in readings:
        await db.repository(Reading).delete(one.id)
    for user in reversed(users):
        await db.repository(User).delete(user.id)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_the_same_seed_gives_the_same_entities(seed: int) -> None:
    """And fewer of them are the first of more; another seed gives others."""
    users = fake(User, 8, seed=seed)
    assert users == fake(User, 8, seed=seed)
    assert users[:3] == fake(User, 3, seed=seed)
    assert {each.id for each in users}.isdisjoint(each.id for each in fake(User, 8, seed=seed + 1))


@pytest.mark.slow
def test_another_process_makes_the_same_entities() -> None:
    """Neither the hash seed of a process nor its time zone matters."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_fake import *\n"
        "users = fake(User, 20); readings = fake(Reading, 40, refs={User: users})\n"
        "print([each.model_dump(exclude={'tags'}) | {'tags': sorted(getattr(each, 'tags', ()))}"
        " for each in (*users, *readings)])"
    )
    folder = os.path.dirname(__file__)  # noqa: PTH120 - text for sys.path
    printed = {
        subprocess.run(
            [sys.executable, "-c", script, folder],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(printed) == 1


def test_values_look_like_what_their_names_say() -> None:
    """Names, addresses and days are realistic; instants lie in two fixed years."""
    users = fake(User, 50)
    assert all("@example." in each.email for each in users)
    assert all(1935 <= each.born.year <= 2007 for each in users)
    assert all(60 <= len(each.title) <= 70 for each in users)
    assert {each.first_name is None for each in users} == {True, False}
    assert {each.role for each in users} == set(Role)
    assert all(each.profile for each in users)
    for each in (*users, *fake(Reading, 50, user_id=users)):
        assert FIRST <= each.created_at < LAST
        assert each.updated_at == each.created_at
        assert each.version == 1
        assert each.id.version == 7
    addresses = [each.address for each in users if each.address]
    assert addresses
    assert all(FIRST <= each.since < LAST for each in addresses)


def test_some_fields_are_given() -> None:
    """A value that is given is the same in each entity; an unknown name is a mistake."""
    users = fake(User, 5, city="Bonn", first_name=None)
    assert {(each.city, each.first_name) for each in users} == {("Bonn", None)}
    with pytest.raises(UnknownFieldError, match="city"):
        fake(User, 1, ciyt="Bonn")
    with pytest.raises(InvalidRequestError, match="born"):
        fake(User, 1, born="no day")


def test_parents_are_chosen_among_those_given() -> None:
    """Entities or ids, one or several, for one field or by their class."""
    users = fake(User, 3)
    ids = {each.id for each in users}
    for made in (
        fake(Reading, 12, user_id=users),
        fake(Reading, 12, refs={User: users}),
        fake(Reading, 12, user_id=[each.id for each in users]),
    ):
        assert {each.user_id for each in made} == ids
    assert {each.user_id for each in fake(Reading, 4, user_id=users[0])} == {users[0].id}
    assert {each.user_id for each in fake(Reading, 4, user_id=users[0].id)} == {users[0].id}


def test_an_entity_may_refer_to_an_earlier_one() -> None:
    """A reference to the own collection points backwards, so that they can be added in order."""
    seen: set[UUID] = set()
    users = fake(User, 30)
    for each in users:
        assert each.boss_id is None or each.boss_id in seen
        seen.add(each.id)
    assert any(each.boss_id for each in users)


@pytest.mark.parametrize("given_parents", [{}, {"user_id": []}, {"refs": {User: []}}])
def test_a_reference_without_parents_says_what_to_pass(given_parents: dict[str, Any]) -> None:
    """A required Ref cannot be made up: the error shows the call that works."""
    with pytest.raises(InvalidRequestError, match=r"fake\(Reading, \.\.\., user_id=\[\.\.\.\]\)"):
        fake(Reading, 1, **given_parents)


def test_a_unique_key_is_used_up_to_the_last() -> None:
    """All combinations are found, and one more than there are is a clear error."""
    users = fake(User, 4)
    made = fake(Reading, 20, user_id=users)
    assert len({(each.user_id, each.day) for each in made}) == 20
    with pytest.raises(InvalidRequestError, match="user_id, day must be unique"):
        fake(Reading, 21, user_id=users)


class Impossible(Entity, collection="impossible", checks=[Check("odd", F.name.startswith("##"))]):
    name: Annotated[str, MaxLength(9)]


class Narrow(Entity, collection="narrow"):
    number: Annotated[int, Field(gt=3, lt=4)]


class Odd(Entity, collection="odd"):
    word: str
    first: int
    last: int

    @field_validator("first")
    @classmethod
    def is_odd(cls, value: int) -> int:
        """Refuse every other number."""
        if value % 2 == 0:
            raise ValueError
        return value

    @model_validator(mode="after")
    def is_ordered(self) -> Odd:
        """Refuse half of the pairs."""
        if self.first > self.last:
            raise ValueError
        return self


def test_an_entity_s_own_validators_hold() -> None:
    """Values are made again until the validators accept them."""
    assert all(each.first % 2 and each.first <= each.last for each in fake(Odd, 50))


class Stay(
    Entity,
    collection="stays",
    checks=[
        Check("came", F.came_at >= F.planned_at),
        Check("left", (F.left_at > F.came_at) & (F.left_at != F.paid_at)),
        Check("paid", F.paid_at >= F.left_at),
    ],
):
    planned_at: AwareDatetime
    came_at: AwareDatetime
    left_at: AwareDatetime | None = None
    paid_at: AwareDatetime


def test_two_fields_are_made_in_the_order_of_a_check() -> None:
    """Values are made again until each pair is as its check wants it."""
    for each in fake(Stay, 100):
        assert each.planned_at <= each.came_at
        assert each.left_at is None or each.came_at < each.left_at < each.paid_at


@pytest.mark.parametrize(("entity", "says"), [(Impossible, "'odd'"), (Narrow, "number")])
def test_rules_that_cannot_be_met_are_named(entity: type[Entity], says: str) -> None:
    """The error names the check or the field, and never a value."""
    with pytest.raises(InvalidRequestError, match=says):
        fake(entity, 1)


@pytest.mark.parametrize("library", ["faker", "polyfactory"])
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """The hint is the line that installs it."""
    for name in list(sys.modules):
        if name.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDriverError, match=library) as raised:
        fake(User, 1)
    assert raised.value.hint == 'python -m pip install "healthstore[testing]"'


class Traveller(Entity, collection="travellers"):
    first_name: Annotated[str, Unique(), MaxLength(40)]
    country: Annotated[str, Unique(), MaxLength(60)]
    tag: Annotated[str, Unique(), MaxLength(5)]


class Coded(Entity, collection="coded", indexes=[Unique("two"), Unique("kind", "three")]):
    one: Annotated[str, Unique(), MaxLength(1)] | None = None
    two: Annotated[str, MaxLength(2)]
    kind: Literal["a", "b"]
    three: Annotated[str, Field(min_length=2, max_length=3)]


def test_unique_texts_go_on_when_the_usual_ones_are_taken() -> None:
    """There are some hundred first names and countries, and thousands are asked for."""
    made = fake(Traveller, 1_500)
    for name in ("first_name", "country", "tag"):
        assert len({getattr(each, name) for each in made}) == 1_500
    assert sum(" " not in each.first_name for each in made) > 300
    assert max(len(each.tag) for each in made) <= 5


def test_short_unique_texts_are_walked_through() -> None:
    """Every text of so few letters and digits is found before `fake` says that there is none."""
    made = fake(Coded, 36 + 36**2, one=None)
    assert len({each.two for each in made}) == 36 + 36**2
    assert {len(each.three) for each in made} == {2, 3}
    assert None in {each.one for each in fake(Coded, 200)}
    with pytest.raises(InvalidRequestError):
        fake(Coded, 36 + 36**2 + 1, one=None)


@pytest.mark.parametrize(
    ("entity", "given"),
    [
        (Columns, {}),
        (Documents, {"careless": []}),  # what it excludes must be its default: nobody can tell
    ],
)
def test_every_annotation_can_be_made_up(entity: type[Entity], given: dict[str, Any]) -> None:
    """Addresses, paths, literals and models are valid, and the same for the same seed."""
    for seed in range(3):
        assert fake(entity, 5, seed=seed, **given) == fake(entity, 5, seed=seed, **given)


def test_an_optional_tuple_is_made_of_its_parts() -> None:
    """A field that may be None is made up as one that may not."""

    class Reading(Entity, collection="readings"):
        pressure: tuple[int, str] | None = None

    assert any(each.pressure is not None for each in fake(Reading, 20))


def test_collections_of_few_values_end() -> None:
    """No more keys and members are looked for than there are, in models, too."""

    class Ballot(BaseModel):
        votes: dict[Priority, int]
        seen: frozenset[bool]

    class Counted(Entity, collection="counted"):
        votes: dict[Role, int]
        flags: dict[Literal["on"], bool]
        ballots: list[Ballot]
        answers: set[bool]

    for each in fake(Counted, 20):
        assert each.votes
        assert each.answers
        assert set(each.flags) == {"on"}
        assert all(ballot.votes and ballot.seen for ballot in each.ballots)
