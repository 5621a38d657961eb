"""The command ``bench``: how fast a member is, and how much of a call is healthstore's own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any

from healthstore.abc.backend import Backend
from healthstore.abc.bench import Bench, Benched
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.cli.bench.measure import MOST_TASKS, Figures, Measurement
from healthstore.cli.bench.scratch import ScratchLayer, lend, make_readings, new_entity
from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.named import require_stored
from healthstore.cli.output import Output, events_unlogged
from healthstore.cli.signals import ended_as_by_interrupt
from healthstore.cli.store import TRANSFER, Store
from healthstore.config.settings import MemberSettings, Profile, Settings
from healthstore.entity import collection_of
from healthstore.errors import UnavailableError
from healthstore.manager import DatabaseManager
from healthstore.model.ops import Op
from healthstore.switching import require_member

__all__ = ("measure_members", "require_plan")

_CHECK_SECONDS = 10.0
_LONGEST = 600.0  # seconds for one measurement


@dataclass(slots=True)
class _Report:
    """What was found on one member."""

    name: str
    url: str
    collection: str
    figures: list[Figures] = field(default_factory=list[Figures])

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "url": self.url,
            "collection": self.collection,
            "operations": [asdict(each) for each in self.figures],
        }


def require_plan(seconds: float, tasks: int) -> None:
    """Raise CommandError for options of ``bench`` that cannot be meant."""
    if not 0 < seconds <= _LONGEST:
        raise CommandError(
            Failure("--seconds is no time to measure", hint=f"above 0, at most {_LONGEST:g}")
        )
    if not 1 <= tasks <= MOST_TASKS:
        raise CommandError(
            Failure("--tasks is no number of tasks", hint=f"1 to {MOST_TASKS:,}; 1 for one only")
        )


async def measure_members(
    output: Output,
    store: Store,
    names: Sequence[str],
    *,
    seconds: float,
    tasks: int,
    confirm: str | None,
) -> int:
    """Measure members, the active one if none is named, one after the other.

    Whatever ends it, the collections that it made are removed. Raises CommandError, before
    anything is sent, for a member that is not to be measured.
    """
    require_plan(seconds, tasks)
    settings = store.settings()
    known = {each.name: each for each in settings.members}
    for name in names:
        require_member(name, tuple(known))
    chosen = [known[name] for name in names] or [settings.members[0]]
    production = Profile.PRODUCTION in {settings.profile, _said(store)}
    for member in chosen:
        _require_meant(member, confirm, production=production)
    reports: list[_Report] = []
    with ended_as_by_interrupt(), events_unlogged():
        for member in chosen:
            report = await _measured(output, settings, member, seconds, tasks)
            reports.append(report)
            _show(output, report)
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "bench",
            "seconds": seconds,
            "tasks": tasks,
            "members": [each.as_json() for each in reports],
        }
    )
    return Exit.OK


def _said(store: Store) -> str:
    return store.profile or os.environ.get("HEALTHSTORE_PROFILE", "")


def _require_meant(member: MemberSettings, confirm: str | None, *, production: bool) -> None:
    """Raise CommandError for a member that may not be written to, or is in production."""
    if member.read_only:
        raise _refused(
            "the member is configured read-only",
            member.name,
            "nothing was sent; a benchmark writes, if only to a collection of its own",
        )
    url = member.backend_url()
    word = PurePath(url.database).name or url.scheme
    if production and confirm != word:
        raise _refused(
            f"{word} is in production, and a benchmark takes all that its server can give",
            member.name,
            f"nothing was sent; if it is meant, say --confirm {word}",
        )
    require_stored(url)


def _refused(message: str, where: str, hint: str) -> CommandError:
    return CommandError(Failure(message, where, hint, "refused", Exit.REFUSED))


async def _measured(
    output: Output, settings: Settings, member: MemberSettings, seconds: float, tasks: int
) -> _Report:
    """Measure one member in a collection that is removed afterwards."""
    url = member.backend_url()
    entity = new_entity()
    collection = collection_of(entity)
    report = _Report(member.name, str(url), collection.name)
    async with _opened(url, member.name) as bench:
        output.note(
            f"{member.name}: in a collection of its own, {collection.name}, which is removed "
            "afterwards"
        )
        sent: list[Op[Any]] = []
        layer = partial(ScratchLayer, collection=collection, sent=sent)
        alone = settings.model_copy(update={"members": (member,), "policy": TRANSFER})
        async with (
            lend(output, bench, collection),
            DatabaseManager.from_settings(alone, layers=[layer]) as db,
        ):
            make = partial(make_readings, entity)
            measurement = Measurement(db.repository(entity), make, sent, bench, seconds)
            async for figures in measurement.run(tasks):
                report.figures.append(figures)
    return report


@asynccontextmanager
async def _opened(url: BackendURL, name: str) -> AsyncGenerator[Bench[Any], None]:
    """Open a member's adapter, beside the manager that is measured, if it takes writes."""
    adapter = connect(url, name)
    if not isinstance(adapter, Benched):
        raise _refused(
            f"a store of the kind {url.scheme} has no driver to measure against",
            name,
            "name a database: PostgreSQL, MySQL, MariaDB, SQLite or MongoDB",
        )
    try:
        await adapter.open()
        await _require_writable(adapter, name)
        yield adapter.bench()
    finally:
        await adapter.close()


async def _require_writable(adapter: Backend, name: str) -> None:
    """Ask the server whether it takes writes; raise CommandError if it does not."""
    prober = adapter.prober()
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await prober.connect()
            vitals = await prober.check()
    except TimeoutError:
        raise UnavailableError(
            f"the member did not answer a check within {_CHECK_SECONDS:g} s",
            hint="healthstore doctor tells more",
            backend=name,
        ) from None
    finally:
        await prober.close()
    if not vitals.writable:
        raise _refused(f"the member takes no writes: {vitals.reason}", name, "measure the primary")


def _show(output: Output, report: _Report) -> None:
    columns = (
        "operation",
        "tasks ",
        "per second ",
        "p50 ms ",
        "p99 ms ",
        "driver per second ",
        "overhead µs ",
    )
    output.table(columns, map(_row, report.figures), title=f"{report.name}  {report.url}")
    output.show(
        "overhead: CPU of this process that one call takes more than the same statement sent by "
        "the driver alone"
    )


def _row(figures: Figures) -> tuple[str, ...]:
    return (
        figures.operation,
        f"{figures.tasks}",
        f"{figures.per_second:,.0f}",
        f"{figures.p50_ms:.3f}",
        f"{figures.p99_ms:.3f}",
        "" if figures.driver_per_second is None else f"{figures.driver_per_second:,.0f}",
        "" if figures.overhead_us is None else f"{figures.overhead_us:.1f}",
    )
