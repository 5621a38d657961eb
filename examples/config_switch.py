"""The same small service on every backend: one variable decides which.

    HEALTHSTORE_PRIMARY=postgresql://user:password@host/database python examples/config_switch.py

Without that variable it runs itself once on SQLite, once in memory, and once on each server that
a HEALTHSTORE_TEST_*_URL names, in a database of its own, and compares what was printed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import AwareDatetime

from healthstore import Avg, Count, DatabaseManager, Digits, Entity, F, Index, MaxLength, Unique
from healthstore.abc import BackendURL
from healthstore.testing.provision import PROVISIONS, SERVERS

VARIABLE = "HEALTHSTORE_PRIMARY"


# --- the service: nothing in it knows a backend ------------------------------------------------


class Patient(Entity, collection="patients"):
    """Somebody who weighs himself."""

    email: Annotated[str, Unique(), MaxLength(255)]
    name: str | None = None


class Weight(Entity, collection="weights", indexes=[Index("patient_id", "-taken_at")]):
    """What the scales said.

    Without a Ref, and added one at a time: so even a standalone MongoDB server, which has no
    transactions and refuses what needs them, runs it.
    """

    patient_id: UUID
    kg: Annotated[Decimal, Digits(6, 2)]
    taken_at: AwareDatetime


async def service() -> None:
    """Register patients, record weights, and print what a doctor would ask for."""
    async with DatabaseManager.from_env() as db:
        await db.initialize(Patient, Weight)
        patients, weights = db.repository(Patient), db.repository(Weight)
        monday = datetime(2026, 1, 5, 7, tzinfo=UTC)
        for number, name in enumerate(["Zoë", None, "émile", "Ann"]):
            patient = await patients.upsert(
                Patient(email=f"patient{number}@example.org", name=name), on="email"
            )
            for day in range(2 * number):
                await weights.add(
                    Weight(
                        patient_id=patient.id,
                        kg=Decimal(70 + number) + Decimal(day) / 4,
                        taken_at=monday + timedelta(days=day, microseconds=number),
                    )
                )
        print([each.name for each in (await patients.find(order=["name"])).items])
        for each in (await patients.find(order=["email"])).items:
            (group,) = await weights.aggregate(F.patient_id == each.id, n=Count(), mean=Avg("kg"))
            latest = await weights.find(F.patient_id == each.id, order=["-taken_at"], limit=1)
            print(each.email, group["n"], group["mean"], *(w.taken_at for w in latest.items))


# --- the proof: it prints the same everywhere --------------------------------------------------


def printed(url: str) -> str:
    """Run the service in a process of its own, and return what it printed."""
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, VARIABLE: url},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


async def printed_on_server(text: str) -> str:
    """Run the service in a new database beside the one that a URL names."""
    server = BackendURL.parse(text)
    provision = PROVISIONS[server.scheme]
    made = await provision.create(server, f"switch_{uuid4().hex[:12]}")
    place, _, options = text.partition("?")
    url = f"{place.rpartition('/')[0]}/{made.database}{'?' if options else ''}{options}"
    try:
        return await asyncio.to_thread(printed, url)
    finally:
        await provision.drop(made)


async def everywhere() -> None:
    """Run the service on every backend that is there, and compare."""
    answers = {"memory": printed("memory://")}
    with tempfile.TemporaryDirectory() as folder:
        answers["sqlite"] = printed(f"sqlite:///{folder}/service.db")
    for name, variable in SERVERS.items():
        if variable is None:
            continue
        url = os.environ.get(variable)
        if url:
            answers[name] = await printed_on_server(url)
        else:
            print(f"{name:12} is absent: set {variable}")
    expected = answers["memory"]
    for name, answer in answers.items():
        print(f"{name:12} {'the same' if answer == expected else 'DIFFERENT'}")
    print(expected, end="")
    if any(answer != expected for answer in answers.values()):
        raise SystemExit("the backends differ")


if __name__ == "__main__":
    asyncio.run(service() if os.environ.get(VARIABLE) else everywhere())
