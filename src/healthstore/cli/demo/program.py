"""The demo's entities, its sample data, and the program that runs unchanged on every store."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue

from healthstore.entity import Digits, Entity, MaxLength, Ref
from healthstore.errors import HealthstoreError
from healthstore.manager import DatabaseManager
from healthstore.model.ops import Avg, Count, Max, Sum
from healthstore.model.query import F
from healthstore.model.schema import Index, Unique

__all__ = ("Metric", "Patient", "Reading", "patients", "program", "readings", "refusal")

_START = datetime(2026, 3, 28, 22, 30, 0, 123456, tzinfo=UTC)
_STEP = 1_234_567_890_123_456_789  # spreads values over 20 digits
# Spellings that databases sort, compare or cut differently unless they are told not to.
_NAMES = ("Ann", "ann", "Zoë", "Zoe\u0301", "Émile", "李雷", "Anne ", "Özlem", "سلمى", "Bo 🫀")


class Metric(StrEnum):
    """What a reading measures."""

    WEIGHT = "weight"
    PULSE = "pulse"
    GLUCOSE = "glucose"


class Patient(Entity, collection="demo_patients"):
    """Somebody whose readings are kept."""

    email: Annotated[str, Unique(), MaxLength(255)]
    name: Annotated[str, MaxLength(80)]
    born: date | None = None
    profile: dict[str, JsonValue] = Field(default_factory=dict)


class Reading(Entity, collection="demo_readings", indexes=[Index("patient_id", "-taken_at")]):
    """One measurement."""

    patient_id: Annotated[UUID, Ref(Patient, on_delete="cascade")]
    metric: Metric
    value: Annotated[Decimal, Digits(24, 16)] | None = None
    taken_at: AwareDatetime
    details: dict[str, JsonValue] = Field(default_factory=dict)


def patients() -> list[Patient]:
    """Return the same patients each time."""
    return [
        Patient(
            id=UUID(int=0xA0 + number),
            email=f"patient{number}@example.org",
            name=name,
            born=None if number % 3 == 0 else date(1950 + number, 2, 28),
            profile={"language": name[:1], "goals": [number, 1.5 * number, None], "ok": True},
            created_at=_START,
        )
        for number, name in enumerate(_NAMES)
    ]


def readings(count: int, first: int = 0) -> list[Reading]:
    """Return the same readings each time: exact decimals, nulls, microseconds, nested JSON."""
    metrics = tuple(Metric)
    return [
        Reading(
            id=UUID(int=(1 << 64) + number * 0x9E3779B97F4A7C15 % (1 << 64)),
            patient_id=UUID(int=0xA0 + number * 7 % len(_NAMES)),
            metric=metrics[number % len(metrics)],
            value=None if number % 11 == 0 else Decimal(number * _STEP % 10**20).scaleb(-16),
            taken_at=_START + timedelta(microseconds=number * 86_400_001),
            details={"device": f"d{number % 5}", "raw": [number, number / 8]} if number % 2 else {},
            created_at=_START,
        )
        for number in range(first, first + count)
    ]


async def refusal(call: Awaitable[object]) -> str:
    """Return the class of the error that a call ends with."""
    try:
        await call
    except HealthstoreError as error:
        return type(error).__name__
    return "accepted"


async def program(db: DatabaseManager) -> dict[str, object]:
    """Ask the same questions of any store; the answers must be the same."""
    people, values = db.repository(Patient), db.repository(Reading)
    await people.add_many(patients())
    await values.add_many(readings(400))
    ann = await people.update(patients()[0].id, {"name": "Anna"}, version=1)

    high = (F.metric == "weight") & ~(F.value <= Decimal("500.5"))
    one = await values.find(high, order=["-value", "taken_at"], limit=20)
    two = await values.find(high, order=["-value", "taken_at"], limit=20, after=one.next)
    by_metric = await values.aggregate(group=["metric"], n=Count("value"), s=Sum("value"))
    by_patient = await values.aggregate(group=["patient_id"], mean=Avg("value"), t=Max("taken_at"))

    async def change_two_and_fail() -> None:
        async with db.transaction() as tx:
            await tx.repository(Patient).delete(patients()[1].id)
            await tx.repository(Patient).add(patients()[2])  # is there already

    return {
        "exact values in pages": [(each.id, each.value) for each in (*one.items, *two.items)],
        "exact sums by group": by_metric,
        "averages and instants": by_patient,
        "order of names": [each.name async for each in people.stream(order=["name"])],
        "null sorts first": [each.born async for each in people.stream(order=["born", "name"])],
        "nested JSON": [each.profile async for each in people.stream()],
        "text is compared exactly": await people.count(F.name == "ann"),
        "duplicate email": await refusal(people.add(Patient(email=ann.email, name="B"))),
        "stale version": await refusal(people.update(ann.id, {"name": "C"}, version=1)),
        "unknown field": await refusal(people.count(F.nmae == "x")),
        "failed unit": (await refusal(change_two_and_fail()), await people.count()),
        "cascade": (await people.delete(ann.id), await values.count()),
    }
