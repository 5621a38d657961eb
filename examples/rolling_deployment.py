"""Deploy a release while the one before it goes on writing, and count what was kept.

    python examples/rolling_deployment.py --chain sqlite,postgresql,mongodb-rs --seconds 20

Two old programs and two new ones write to one store at once: they add visits, count in those that
are there, and the new ones note minutes, which the old ones know nothing of. In between, the store
is brought from the one release to the other. At the end every write that was acknowledged is
looked for, and what nobody has written must be as the definition says.

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


@dataclass(slots=True)
class Acknowledged:
    """What the store has acknowledged to all programs, and what it has refused."""

    old: set[UUID] = field(default_factory=set)
    new: dict[UUID, int] = field(default_factory=dict)
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


async def keep_on(turn: Callable[[], Awaitable[None]], until: float, kept: Acknowledged) -> None:
    """Take turns until a time. What is refused was not done, and is no loss."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        try:
            await turn()
            await asyncio.sleep(0)  # memory never waits, and would let nobody else come
        except HealthstoreError as error:
            if error.outcome is not Outcome.NOT_APPLIED:
                raise
            kept.refused += 1
            await asyncio.sleep(0.01)


async def deploy(old: DatabaseManager, new: DatabaseManager, seconds: float) -> str:
    """Deploy while both write; return what was kept, or raise SystemExit for what was not."""
    await old.initialize(Visit)
    first = [await old.repository(Visit).add(Visit(reason="fever")) for _ in range(THERE)]
    there, kept = [each.id for each in first], Acknowledged()
    end = asyncio.get_running_loop().time() + seconds
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(keep_on(lambda: old_program(old, there, kept), end, kept))
        await asyncio.sleep(seconds / 4)
        before = len(kept.old)
        await new.schema.evolve(LaterVisit)
        for _ in range(2):
            tasks.create_task(keep_on(lambda: new_program(new, there, kept), end, kept))
    if not 0 < before < len(kept.old):
        raise SystemExit("the old programs did not write before and after")
    return await compared(new, there, kept)


async def compared(db: DatabaseManager, there: list[UUID], kept: Acknowledged) -> str:
    """Look for everything that was acknowledged."""
    found = {each.id: each async for each in db.repository(LaterVisit).stream(order=["id"])}
    wanted = {each: (kept.calls[each], kept.minutes.get(each, 15)) for each in there}
    wanted |= dict.fromkeys(kept.old, (0, 15))
    wanted |= {each: (0, minutes) for each, minutes in kept.new.items()}
    held = {identity: (each.calls, each.minutes) for identity, each in found.items()}
    lost = [each for each, values in wanted.items() if held.get(each) != values]
    if lost or found.keys() != wanted.keys():
        raise SystemExit(f"{len(lost)} of {len(wanted)} visits are not as they were written")
    writes = len(kept.old) + len(kept.new) + kept.calls.total()
    return f"{writes:,} writes kept, {kept.refused} refused, {len(kept.old):,} visits by the old programs"


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
        for name, url in chain.items():
            async with (
                fresh_store(name, url, Path(folder)) as member,
                programs(name, member) as (old, new),
            ):
                print(f"{name}: {await deploy(old, new, seconds)}")


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
