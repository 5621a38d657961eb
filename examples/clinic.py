"""Keep a clinic's books right while many write at once: no double booking, no lost count.

    python examples/clinic.py --chain sqlite,postgresql,mongodb-rs --processes 4 --tasks 16

Each of several processes works off the same kinds of jobs with many tasks at once: patients want
the same appointments, doses leave a stock that is too small, and ratings count up at few doctors.
A job is one unit, run again when it gave way to another one, and its own record is part of it: so a
job that is repeated, because no answer came, finds that it was done. Who gets what is by chance;
how much there is of everything at the end is not, and is held against what must be. A server that
is killed and started again meanwhile changes nothing of it.

Servers are those of ``HEALTHSTORE_TEST_*_URL``; each gets a new database that is dropped at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field
from real_health_data import fresh_store, servers

from healthstore import (
    Check,
    Count,
    DatabaseManager,
    Entity,
    F,
    HealthstoreError,
    MaxLength,
    Outcome,
    Ref,
    Sum,
    Unique,
)
from healthstore.errors import CapabilityError, DuplicateKeyError
from healthstore.testing.provision import SERVERS
from healthstore.transaction import Transaction

PROGRAM = Path(__file__).resolve()
DOCTORS, SLOTS, DOSES = 3, 8, 40  # slots of each doctor; doses are fewer than who wants one
PATIENCE = 120.0  # seconds in all that a job may wait for a server that is away


class Doctor(Entity, collection="doctors"):
    """A doctor, with what the ratings come to."""

    name: Annotated[str, MaxLength(40)]
    ratings: int = 0
    stars: int = 0


class Appointment(Entity, collection="appointments", indexes=[Unique("doctor_id", "slot")]):
    """A slot that a patient has; nobody else has it."""

    doctor_id: Annotated[UUID, Ref(Doctor)]
    slot: int
    patient: int


class Stock(Entity, collection="stocks", checks=[Check("not_owed", F.left >= 0)]):
    """How many doses are left."""

    name: Annotated[str, MaxLength(40)]
    left: int


class Dose(Entity, collection="doses"):
    """A dose that has left a stock; its id is that of the job."""

    stock_id: Annotated[UUID, Ref(Stock)]


class Rating(Entity, collection="ratings"):
    """What a patient gave a doctor; its id is that of the job."""

    doctor_id: Annotated[UUID, Ref(Doctor)]
    stars: Annotated[int, Field(ge=1, le=5)]


ENTITIES = (Doctor, Appointment, Stock, Dose, Rating)
Job = Callable[[DatabaseManager], Awaitable[str]]


def named(*parts: object) -> UUID:
    """Return the id that everybody gives to what is called so."""
    return uuid5(NAMESPACE_URL, "/".join(map(str, parts)))


# ---------------------------------------------------------------- the jobs
async def book(db: DatabaseManager, *, doctor: UUID, slot: int, patient: int) -> str:
    """Take a slot, if nobody else has it."""
    appointments = db.repository(Appointment)
    wanted = Appointment(
        id=named("appointment", doctor, slot, patient),
        doctor_id=doctor,
        slot=slot,
        patient=patient,
    )
    try:
        await appointments.add(wanted)
    except DuplicateKeyError:
        return "booked" if await appointments.get(wanted.id) else "taken"
    return "booked"


async def give(db: DatabaseManager, *, stock: UUID, number: int) -> str:
    """Give a dose, if one is left."""

    async def work(tx: Transaction) -> str:
        doses, stocks = tx.repository(Dose), tx.repository(Stock)
        if await doses.get(named("dose", number)):
            return "given"
        held = await stocks.get(stock)
        assert held is not None
        if held.left == 0:
            return "none left"
        await stocks.update(stock, {"left": held.left - 1})
        await doses.add(Dose(id=named("dose", number), stock_id=stock))
        return "given"

    return await db.run(work, attempts=100)


async def rate(db: DatabaseManager, *, doctor: UUID, number: int) -> str:
    """Rate a doctor, once."""
    stars = 1 + number % 5

    async def work(tx: Transaction) -> str:
        ratings = tx.repository(Rating)
        if await ratings.get(named("rating", number)):
            return "rated"
        await ratings.add(Rating(id=named("rating", number), doctor_id=doctor, stars=stars))
        await tx.repository(Doctor).increment(doctor, "ratings")
        await tx.repository(Doctor).increment(doctor, "stars", stars)
        return "rated"

    return await db.run(work, attempts=100)


def jobs_of(rounds: int) -> list[Job]:
    """Return all jobs, the same ones for everybody: in each round one of each kind."""
    doctors = [named("doctor", each) for each in range(DOCTORS)]
    jobs: list[Job] = []
    for number in range(rounds):
        doctor = doctors[number % DOCTORS]
        slot = number // DOCTORS % SLOTS
        jobs.append(partial(book, doctor=doctor, slot=slot, patient=number))
        jobs.append(partial(give, stock=named("stock"), number=number))
        jobs.append(partial(rate, doctor=doctor, number=number))
    return jobs


# ---------------------------------------------------------------- who works
async def settled(job: Job, db: DatabaseManager) -> str:
    """Do a job until it is known to be done or refused: it may be repeated, whatever happened."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await job(db)
            except HealthstoreError as error:
                if not error.transient and error.outcome is not Outcome.UNKNOWN:
                    raise
                await asyncio.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - no secret


async def work_off(db: DatabaseManager, jobs: list[Job], tasks: int) -> Counter[str]:
    """Let tasks work off jobs side by side; return how often each answer came."""
    waiting = iter(jobs)
    answers: Counter[str] = Counter()

    async def worker() -> None:
        for job in waiting:
            answers[await settled(job, db)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(worker())
    return answers


async def one_of_many(url: str, place: int, processes: int, tasks: int, rounds: int) -> None:
    """Work off every so many-th job of all, as one of several processes."""
    async with opened(url) as db:
        await work_off(db, jobs_of(rounds)[place::processes], tasks)


async def in_processes(url: str, processes: int, tasks: int, rounds: int) -> None:
    """Start processes of this program, and wait for all of them."""
    numbers = [f"--processes={processes}", f"--tasks={tasks}", f"--rounds={rounds}"]
    command = [sys.executable, str(PROGRAM), *numbers]
    environment = {**os.environ, "CLINIC_URL": url}  # what is in it is nobody's to read
    started = [
        await asyncio.create_subprocess_exec(*command, f"--place={place}", env=environment)
        for place in range(processes)
    ]
    codes = [await each.wait() for each in started]
    if any(codes):
        raise subprocess.CalledProcessError(max(codes), command)


# ---------------------------------------------------------------- what must be
async def has_units(db: DatabaseManager) -> bool:
    """Tell whether a store has units of work: one server of MongoDB by itself has none."""
    try:
        async with db.transaction():
            return True
    except CapabilityError:
        return False


async def open_clinic(db: DatabaseManager) -> None:
    """Let the doctors in, and fill the stock."""
    await db.initialize(*ENTITIES)
    await db.repository(Doctor).add_many(
        [Doctor(id=named("doctor", each), name=f"Doctor {each}") for each in range(DOCTORS)]
    )
    await db.repository(Stock).add(Stock(id=named("stock"), name="vaccine", left=DOSES))


async def audited(db: DatabaseManager, rounds: int) -> str:
    """Hold what is stored against what must be; return it in words, or end with what is wrong."""
    stock = await db.repository(Stock).get(named("stock"))
    assert stock is not None
    doses = await db.repository(Dose).count()
    booked = await db.repository(Appointment).count()
    rated = await db.repository(Rating).aggregate(group=["doctor_id"], n=Count(), all=Sum("stars"))
    by_doctor = {row["doctor_id"]: (row["n"], row["all"]) for row in rated}
    counted = {each.id: (each.ratings, each.stars) async for each in db.repository(Doctor).stream()}
    wanted = {
        "appointments": (booked, min(rounds, DOCTORS * SLOTS)),
        "doses given": (doses, min(rounds, DOSES)),
        "doses left": (stock.left, DOSES - doses),
        "ratings": (sum(n for n, _ in counted.values()), rounds),
        "stars": (
            sum(stars for _, stars in counted.values()),
            sum(1 + number % 5 for number in range(rounds)),
        ),
        "counts of doctors": (counted, by_doctor),
    }
    wrong = [what for what, (found, must) in wanted.items() if found != must]
    if wrong:
        raise SystemExit(f"wrong: {', '.join(wrong)}")
    ratings, stars = wanted["ratings"][0], wanted["stars"][0]
    return f"{booked} booked, {doses} given, {stock.left} left, {ratings} ratings, {stars} stars"


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[DatabaseManager]:
    """Lend a manager; a server that was killed may take a while to come back."""
    async with asyncio.timeout(PATIENCE):
        while True:
            db = DatabaseManager(url)
            try:
                await db.open()
                break
            except HealthstoreError as error:
                if not error.transient:
                    raise
                await asyncio.sleep(0.1)
    try:
        yield db
    finally:
        await db.close()


async def run(chain: dict[str, str], processes: int, tasks: int, rounds: int) -> None:
    """Open a clinic on each store, let everybody work, and look whether all agree."""
    books: dict[str, str] = {}
    audit = partial(audited, rounds=rounds)
    with tempfile.TemporaryDirectory(prefix="healthstore-") as folder:
        for name, url in chain.items():
            async with fresh_store(name, url, Path(folder)) as store:
                async with opened(store) as db:
                    if not await has_units(db):
                        print(f"{name}: has no units of work, which this needs", flush=True)
                        continue
                    await open_clinic(db)
                    print(f"{name}: ", end="", flush=True)
                    if name == "memory":  # a store of one process
                        await work_off(db, jobs_of(rounds), processes * tasks)
                        books[name] = await settled(audit, db)
                if name != "memory":
                    await in_processes(store, processes, tasks, rounds)
                    async with opened(store) as db:
                        books[name] = await settled(audit, db)
            print(books[name], flush=True)
    if len(set(books.values())) != 1:
        raise SystemExit("the stores do not agree")


def main() -> None:
    """Run the example, or one of its processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chain", default="sqlite,memory", help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=16, help="in each process (default: 16)")
    parser.add_argument("--rounds", type=int, default=60, help="three jobs each (default: 60)")
    parser.add_argument("--place", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    numbers = (given.processes, given.tasks, given.rounds)
    if given.place is not None:
        asyncio.run(one_of_many(os.environ["CLINIC_URL"], given.place, *numbers))
        return
    chain = servers(name.strip() for name in given.chain.split(","))
    asyncio.run(run(chain, *numbers))


if __name__ == "__main__":
    main()
