"""A care diary: people, what they take, and how they feel. It does not know where its data is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime

from healthstore import (
    Avg,
    Check,
    Count,
    DatabaseManager,
    Entity,
    F,
    Index,
    MaxLength,
    Ref,
    Transaction,
    Unique,
)
from healthstore.entity import utc_now
from healthstore.errors import DuplicateKeyError, OutcomeUnknownError


class User(Entity, collection="users"):
    """Somebody who keeps a diary; no two have the same address."""

    email: Annotated[str, Unique(), MaxLength(120)]
    first_name: Annotated[str, MaxLength(60)]


class Medication(Entity, collection="medications", indexes=[Unique("user_id", "name")]):
    """What somebody takes; it goes when its user goes."""

    user_id: Annotated[UUID, Ref(User, on_delete="cascade")]
    name: Annotated[str, MaxLength(80)]
    dose: Annotated[str, MaxLength(20)]
    active: bool = True


class MoodLog(
    Entity,
    collection="mood_logs",
    indexes=[Index("user_id", "-logged_at")],
    checks=[Check("mood_range", (F.mood >= 1) & (F.mood <= 10))],
):
    """How somebody felt, from 1 to 10; it goes when its user goes."""

    user_id: Annotated[UUID, Ref(User, on_delete="cascade")]
    mood: int
    note: str = ""
    logged_at: AwareDatetime


@dataclass(frozen=True)
class Overview:
    """The first page of a diary. ``average`` is None as long as there is no mood."""

    medications: tuple[Medication, ...]
    latest: tuple[MoodLog, ...]
    moods: int
    average: float | None
    banner: str


async def register(db: DatabaseManager, email: str, first_name: str) -> User:
    """Add a user, or return the one who has this address."""
    users = db.repository(User)
    try:
        return await users.add(User(email=email, first_name=first_name))
    except DuplicateKeyError:
        found = await users.first(F.email == email)
        if found is None:
            raise
        return found


async def log_mood(db: DatabaseManager, user_id: UUID, mood: int, note: str = "") -> MoodLog:
    """Keep a mood, exactly once: if the answer is lost, look whether it was stored."""
    moods = db.repository(MoodLog)
    entry = MoodLog(user_id=user_id, mood=mood, note=note, logged_at=utc_now())
    try:
        return await moods.add(entry)
    except OutcomeUnknownError:
        # The id was made here, so the question has an answer.
        return await moods.get(entry.id) or await moods.add(entry)


async def change_medication(db: DatabaseManager, old: Medication, new: Medication) -> None:
    """End one medication and begin another: both, or neither."""
    async with db.transaction() as tx:
        medications = tx.repository(Medication)
        await medications.update(old.id, {"active": False}, version=old.version)
        await medications.add(new)


async def overview(db: DatabaseManager, user_id: UUID) -> Overview:
    """Read the first page of a diary; the number of requests does not grow with it."""
    mine = F.user_id == user_id
    taken = await db.repository(Medication).find(mine, F.active == True, order=["name"])  # noqa: E712 - a filter
    latest = await db.repository(MoodLog).find(mine, order=["-logged_at"], limit=5)
    (row,) = await db.repository(MoodLog).aggregate(mine, n=Count(), average=Avg("mood"))
    average = row["average"]
    return Overview(
        taken.items,
        latest.items,
        moods=int(str(row["n"])),
        average=None if average is None else float(str(average)),
        banner="demo data: the database is away" if db.reads == "mock" else "",
    )


async def fill_demo(tx: Transaction) -> None:
    """Fill the mock that serves while the database is away."""
    demo = await tx.repository(User).add(User(email="demo@example.org", first_name="Demo"))
    await tx.repository(MoodLog).add(
        MoodLog(user_id=demo.id, mood=7, note="This is an example.", logged_at=utc_now())
    )
