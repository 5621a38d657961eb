"""Deploy a release while the one before it goes on writing, and count what was kept.

    python examples/rolling_deployment.py --chain sqlite,postgresql,mongodb-rs --seconds 20

Two old programs and two new ones write to one store at once: they add visits, count in those that
are there, and the new ones note minutes, which the old ones know nothing of. In between, the store
is brought from the one release to the other. Then a migration gives ``reason`` another meaning and
name, which ends all of them while they write, and two programs of the last release go on. At the
end every write that was acknowledged is looked for, and what nobody has written must be as the
definition says.

Servers are those of ``HEALTHSTORE_TEST_*_URL``; each gets a new database that is dropped at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from uuid import UUID

from real_health_data import fresh_store, servers

from healthstore import DatabaseManager, Entity, HealthstoreError, MaxLength, Outcome
from healthstore.testing.provision import SERVERS

THERE = 20  # visits that are there before


class Visit(Entity, collection="visits"):
    """As the first release has it."""

    reason: Annotated[str, MaxLength(40)]
    calls: int = 0


class LaterVisit(Entity, collection="visits"):
    """As the next one has it."""

    reason: Annotated[str, MaxLength(80)]
    calls: int = 0
    minutes: int = 15
    note: Annotated[str, MaxLength(20)] | None = None


class LastVisit(Entity, collection="visits"):
    """As the last one has it: the reason has another meaning, and so another name."""

    cause: Annotated[str, MaxLength(80)] | None = None
    calls: int = 0
    minutes: int = 15
    note: Annotated[str, MaxLength(20)] | None = None


FILES = {
    "0001_visits": """
from healthstore.schema import CreateCollection, Instant, Integer, Migration, Text, collection

migration = Migration(operations=[
    CreateCollection(collection("visits", {
        "created_at": Instant(), "updated_at": Instant(), "reason": Text(80),
        "calls": Integer(default=0), "minutes": Integer(default=15), "note": Text(20, nullable=True),
    })),
])
""",
    "0002_causes": """
from healthstore.schema import AddField, DropField, Migration, Text, Transform

def up(row): return row | {"cause": row["reason"].upper()}
def down(row): return row | {"reason": row["cause"].lower()}

migration = Migration(after="0001_visits", operations=[
    AddField("visits", "cause", Text(80, nullable=True)),
    Transform("visits", up=up, down=down, idempotent=True),
    DropField("visits", "reason"),
])
""",
}


@dataclass(slots=True)
class Acknowledged:
    """What the store has acknowledged to all programs, and what it has refused."""

    old: set[UUID] = field(default_factory=set)
    new: dict[UUID, int] = field(default_factory=dict)
    last: set[UUID] = field(default_factory=set)
    calls: Counter[UUID] = field(default_factory=Counter)
    minutes: dict[UUID, int] = field(default_factory=dict)
    refused: int = 0


async def old_program(db: DatabaseManager, there: list[UUID], kept: Acknowledged) -> None:
    """Add a visit, and count a call in another one."""
    visits = db.repository(Visit)
    kept.old.add((await visits.add(Visit(reason="cough"))).id)
    chosen = random.choice(there)  # noqa: S311 - no secret
    await visits.increment(chosen, "calls")
    kept.calls[chosen] += 1


async def new_program(db: DatabaseManager, there: list[UUID], kept: Acknowledged) -> None:
    """Add a longer visit, count a call in another one, and note its minutes."""
    visits = db.repository(LaterVisit)
    minutes = random.randint(1, 90)  # noqa: S311 - no secret
    made = await visits.add(LaterVisit(reason="a cough that stays", minutes=minutes))
    kept.new[made.id] = minutes
    chosen = random.choice(there)  # noqa: S311 - no secret
    await visits.increment(chosen, "calls")
    kept.calls[chosen] += 1
    await visits.increment(chosen, "minutes")
    kept.minutes[chosen] = kept.minutes.get(chosen, 15) + 1


async def last_program(db: DatabaseManager, there: list[UUID], kept: Acknowledged) -> None:
    """Add a visit with its cause, and count a call in another one."""
    visits = db.repository(LastVisit)
    kept.last.add((await visits.add(LastVisit(cause="ASTHMA"))).id)
    chosen = random.choice(there)  # noqa: S311 - no secret
    await visits.increment(chosen, "calls")
    kept.calls[chosen] += 1


async def keep_on(
    turn: Callable[[], Awaitable[None]], end: asyncio.Event, kept: Acknowledged
) -> None:
    """Take turns until the end. What is refused was not done, and is no loss."""
    while not end.is_set():
        try:
            await turn()
            await asyncio.sleep(0)  # memory never waits, and would let nobody else come
        except HealthstoreError as error:
            if error.outcome is not Outcome.NOT_APPLIED:
                raise
            kept.refused += 1
            await asyncio.sleep(0.01)


async def deploy(old: DatabaseManager, new: DatabaseManager, folder: Path, seconds: float) -> str:
    """Deploy while both write; return what was kept, or raise SystemExit for what was not."""
    await old.initialize(Visit)
    first = [await old.repository(Visit).add(Visit(reason="fever")) for _ in range(THERE)]
    there, kept = [each.id for each in first], Acknowledged()
    end = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(keep_on(lambda: old_program(old, there, kept), end, kept))
        await asyncio.sleep(seconds / 4)
        before = len(kept.old)
        await new.schema.evolve(LaterVisit)
        for _ in range(2):
            tasks.create_task(keep_on(lambda: new_program(new, there, kept), end, kept))
        await asyncio.sleep(seconds / 4)
        between, refused = len(kept.old), kept.refused
        await new.schema.stamp("0001_visits", folder)  # it was made without files
        await new.schema.upgrade(directory=folder, allow_loss=True)
        for _ in range(2):
            tasks.create_task(keep_on(lambda: last_program(new, there, kept), end, kept))
        await asyncio.sleep(seconds / 4)
        end.set()
    if not 0 < before < between:
        raise SystemExit("the old programs did not write before and after")
    if not kept.last:
        raise SystemExit("the last programs did not write")
    return f"{await compared(new, there, kept)}, {refused} refused until they ended"


async def compared(db: DatabaseManager, there: list[UUID], kept: Acknowledged) -> str:
    """Look for everything that was acknowledged."""
    found = {each.id: each async for each in db.repository(LastVisit).stream(order=["id"])}
    wanted = {each: ("FEVER", kept.calls[each], kept.minutes.get(each, 15)) for each in there}
    wanted |= dict.fromkeys(kept.old, ("COUGH", 0, 15))
    wanted |= {each: ("A COUGH THAT STAYS", 0, minutes) for each, minutes in kept.new.items()}
    wanted |= dict.fromkeys(kept.last, ("ASTHMA", 0, 15))
    held = {identity: (each.cause, each.calls, each.minutes) for identity, each in found.items()}
    lost = [each for each, values in wanted.items() if held.get(each) != values]
    if lost or found.keys() != wanted.keys():
        raise SystemExit(f"{len(lost)} of {len(wanted)} visits are not as they were written")
    writes = len(kept.old) + len(kept.new) + len(kept.last) + kept.calls.total()
    return f"{writes:,} writes kept, {len(kept.old):,} visits by the old programs"


@asynccontextmanager
async def programs(name: str, url: str) -> AsyncGenerator[tuple[DatabaseManager, DatabaseManager]]:
    """Lend the managers of both programs; memory is one program's, so it has one for both."""
    async with DatabaseManager(url) as old:
        if name == "memory":
            yield old, old
            return
        async with DatabaseManager(url) as new:
            yield old, new


async def run(chain: dict[str, str], seconds: float) -> None:
    """Deploy on each store of the chain."""
    with tempfile.TemporaryDirectory(prefix="healthstore-") as folder:
        migrations = Path(folder) / "migrations"
        migrations.mkdir()
        for name, text in FILES.items():
            (migrations / f"{name}.py").write_text(text.lstrip(), "utf-8")
        for name, url in chain.items():
            async with (
                fresh_store(name, url, Path(folder)) as member,
                programs(name, member) as (old, new),
            ):
                print(f"{name}: {await deploy(old, new, migrations, seconds)}")


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chain", default="sqlite,memory", help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each store (default: 2)")
    arguments = parser.parse_args()
    chain = servers(name.strip() for name in arguments.chain.split(","))
    asyncio.run(run(chain, arguments.seconds))


if __name__ == "__main__":
    main()
