"""What mypy and pyright must infer for a user's code without asyncio; it is checked, never run."""

from collections.abc import Iterator
from typing import Annotated, assert_type
from uuid import UUID

from healthstore import Count, Entity, F, MaxLength, Unique
from healthstore.events import Event, Switched
from healthstore.model.values import Value
from healthstore.repository import Page
from healthstore.routing.report import Health
from healthstore.switching import SwitchReport
from healthstore.sync import DatabaseManager, Repository, Transaction


class User(Entity, collection="users"):
    """An entity as a user writes it."""

    email: Annotated[str, Unique(), MaxLength(255)]
    first_name: str | None = None


class Clinic(DatabaseManager):
    """A manager of a user's own."""


def a_repository_knows_its_entity(db: DatabaseManager) -> None:
    """Infer the class of the entity in every answer, without an annotation."""
    users = db.repository(User)
    assert_type(users, Repository[User])

    ann = users.add(User(email="ann@example.org"))
    assert_type(ann, User)
    assert_type(ann.id, UUID)
    assert_type(users.get(ann.id), User | None)
    assert_type(users.get_many([ann.id]), list[User | None])
    assert_type(users.update(ann.id, {"first_name": "Ann"}), User)
    assert_type(users.update(ann.id, {F.data["a"]: 1, "first_name": "Ann"}), User)
    assert_type(users.delete(ann.id), bool)
    assert_type(users.first(F.email == "ann@example.org"), User | None)
    assert_type(users.count(), int)
    assert_type(users.aggregate(n=Count()), list[dict[str, Value]])

    page = users.find(F.first_name == "Ann", order=["email"], limit=10)
    assert_type(page, Page[User])
    for user in page.items:
        assert_type(user, User)
    assert_type(users.stream(F.first_name == "Ann"), Iterator[User])

    with db.transaction() as unit:
        assert_type(unit, Transaction)
        assert_type(unit.repository(User), Repository[User])


def a_manager_says_what_it_returns(db: DatabaseManager) -> None:
    """Infer the types of a manager's answers, and of what a handler is given."""
    with DatabaseManager("memory://") as opened:
        assert_type(opened, DatabaseManager)
    assert_type(Clinic.from_env(), Clinic)
    assert_type(db.members, tuple[str, ...])
    assert_type(db.health(), Health)
    assert_type(db.switch("memory"), SwitchReport)
    with db.events(Switched) as events:
        for event in events:
            assert_type(event, Event)
    seconds: list[float] = []
    db.on(Switched, lambda event: seconds.append(event.seconds))


def a_mock_is_filled_synchronously(unit: Transaction) -> None:
    """Accept a plain function that fills the mock."""
    unit.repository(User).add(User(email="ann@example.org"))


MANAGER = DatabaseManager("memory://", mock_fill=a_mock_is_filled_synchronously)
