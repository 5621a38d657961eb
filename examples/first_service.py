"""A clinic's data layer in one file; the same service runs on two stores without a changed line.

    python examples/first_service.py [URL ...]

Without a URL it runs on SQLite and in memory. A store that is named must be empty.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime

from healthstore import (
    Avg,
    Count,
    DatabaseManager,
    Digits,
    Entity,
    F,
    Index,
    Max,
    MaxLength,
    Ref,
    Unique,
)
from healthstore.errors import DuplicateKeyError, StaleVersionError


class Patient(Entity, collection="patients"):
    """Somebody who is weighed; no two have the same address."""

    email: Annotated[str, Unique(), MaxLength(255)]
    first_name: str | None = None


class Weight(Entity, collection="weights", indexes=[Index("patient_id", "-taken_at")]):
    """A weight, exact to ten grams; it goes when its patient goes."""

    patient_id: Annotated[UUID, Ref(Patient, on_delete="cascade")]
    kg: Annotated[Decimal, Digits(6, 2)]
    taken_at: AwareDatetime


class Clinic:
    """What the service does; it does not know where the data is."""

    def __init__(self, db: DatabaseManager) -> None:
        self._db = db
        self._patients = db.repository(Patient)
        self._weights = db.repository(Weight)

    async def register(self, email: str, first_name: str) -> Patient:
        """Add a patient, or return the one who has this address."""
        try:
            return await self._patients.add(Patient(email=email, first_name=first_name))
        except DuplicateKeyError:
            found = await self._patients.first(F.email == email)
            assert found is not None
            return found

    async def weigh(self, patient: Patient, first: datetime, values: list[str]) -> None:
        """Keep one weight a day: all of them, or none."""
        await self._weights.add_many(
            Weight(patient_id=patient.id, kg=Decimal(kg), taken_at=first + timedelta(days=day))
            for day, kg in enumerate(values)
        )

    async def rename(self, patient: Patient, first_name: str) -> Patient:
        """Change a name; a change that somebody else made first is not overwritten."""
        try:
            changes = {"first_name": first_name}
            return await self._patients.update(patient.id, changes, version=patient.version)
        except StaleVersionError:
            current = await self._patients.get(patient.id)
            assert current is not None
            return current

    async def history(self, patient: Patient) -> list[Decimal]:
        """Return all weights, the latest first, page by page."""
        mine = F.patient_id == patient.id
        return [each.kg async for each in self._weights.stream(mine, order=["-taken_at"])]

    async def merge(self, kept: Patient, other: Patient) -> None:
        """Give one patient the weights of another who is the same person: all or nothing."""
        async with self._db.transaction() as tx:
            weights = tx.repository(Weight)
            for each in (await weights.find(F.patient_id == other.id, limit=1_000)).items:
                await weights.update(each.id, {"patient_id": kept.id})
            await tx.repository(Patient).delete(other.id)

    async def report(self) -> list[dict[str, object]]:
        """Return number, mean and last day of the weights of each patient."""
        rows = await self._weights.aggregate(
            group=["patient_id"], n=Count(), mean=Avg("kg"), last=Max("taken_at")
        )
        return [dict(row) for row in rows]


async def serve(url: str) -> list[object]:
    """Run the service on an empty store and return what it answered."""
    monday = datetime(2026, 1, 5, 7, tzinfo=UTC)
    async with DatabaseManager(url) as db:
        await db.initialize(Patient, Weight)
        clinic = Clinic(db)
        ann = await clinic.register("ann@example.org", "Ann")
        again = await clinic.register("ann@example.org", "Anna")
        double = await clinic.register("ann@example.com", "Ann")
        await clinic.weigh(ann, monday, ["70.50", "70.45", "70.30"])
        await clinic.weigh(double, monday + timedelta(days=3), ["70.25"])
        renamed = await clinic.rename(ann, "Anne")
        stale = await clinic.rename(ann, "Hannah")
        await clinic.merge(ann, double)
        (row,) = await clinic.report()
        return [
            ann.id == again.id,
            (renamed.first_name, stale.first_name, stale.version),
            await clinic.history(ann),
            (row["n"], row["mean"], row["last"]),
        ]


async def main(urls: list[str]) -> None:
    """Run the service on every store; the answers must be the same."""
    with tempfile.TemporaryDirectory() as folder:
        places = urls or [f"sqlite:///{Path(folder) / 'clinic.db'}", "memory://"]
        answers = [await serve(url) for url in places]
    for answer in answers[0]:
        print(answer)
    if any(each != answers[0] for each in answers):
        raise SystemExit("the stores gave different answers")
    print(f"the same answers on {len(answers)} stores")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
