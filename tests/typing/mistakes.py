# pyright: reportUnnecessaryTypeIgnoreComment=true

"""Mistakes of a user's code that mypy and pyright must find; it is checked, never run.

Each has an ignore for both, and an ignore without a mistake is itself an error: so a mistake that
is found no more fails the check. Two of the fifteen are not found, and say why.
"""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from healthstore import Count, DatabaseManager, Entity, F, MaxLength, Unique, field


class Patient(Entity, collection="patients"):
    """An entity as a user writes it."""

    email: Annotated[str, Unique(), MaxLength(255)]
    age: int | None = None
    seen_at: datetime | None = None


class Ward(Entity, collection="wards"):
    """Another one."""

    name: str


async def wrong_names(db: DatabaseManager) -> None:
    """Name what is not there."""
    patients = db.repository(Patient)
    await patients.find(Patient.emial == "x")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await patients.add(Patient(email="x", aged=4))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await patients.find(field(Patient.email).contain_s("x"))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await patients.find(Patient.email.contains("x"))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    # Not found: F knows no class, so that any name may be one.
    await patients.find(F.emial == "x")


async def wrong_operands(db: DatabaseManager) -> None:
    """Compare with, or pass, what is of another type."""
    patients = db.repository(Patient)
    await patients.find(Patient.version >= "2")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
    await patients.find(F.email.contains(5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await patients.find(F.age.in_(5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await patients.get("not a UUID")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await patients.add(Ward(name="x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await patients.aggregate(n=Count)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    # Not found: what is changed is a mapping of names to values of any type.
    await patients.update(uuid4(), {"age": "four"})


async def forgotten_awaits(db: DatabaseManager) -> datetime:
    """Use a coroutine as if it were its result, or leave it alone."""
    patients = db.repository(Patient)
    for _ in patients.find(F.age > 18):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    if patients.count() > 3:  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
        patients.delete(uuid4())  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    return datetime.now(UTC)
