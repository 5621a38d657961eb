"""Carry real health data through a chain of databases, and prove that nothing changed.

    python examples/real_health_data.py --data DIR --chain sqlite,postgresql,mongodb-rs,memory

DIR holds ``patients.jsonl.gz``, ``observations.csv.gz``, ``foods.jsonl.gz``,
``chat_sessions.jsonl.gz``, ``clinical_notes.jsonl.gz`` and ``recipes.jsonl.gz``. Every row is
loaded into the first store with all checks, migrated from store to store, and compared by digests
after each hop; at the end ``backup.json`` is written, restored into a new SQLite file, and
compared again. Then every store is asked the same questions, and has to answer each of them with
the same bytes. Servers are those of ``HEALTHSTORE_TEST_*_URL``; each gets a new database that is
dropped at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Self
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import uuid4

from real_health.questions import Answers, ask, require_same, show
from real_health.records import ENTITIES, SOURCES, Observation, Source

from healthstore import DatabaseManager, HealthstoreError
from healthstore.abc import BackendURL
from healthstore.testing.provision import PROVISIONS, SERVERS
from healthstore.transfer import CollectionFinished, Stage, TransferEvent

BATCH = 1_000
SAMPLE = 500


# ---------------------------------------------------------------- measuring
def reset_peak() -> None:
    """Forget the peak of this process's memory, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def peak_megabytes() -> float:
    """Return the peak of resident memory since :func:`reset_peak`."""
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        import resource  # noqa: PLC0415 - only where there is no /proc

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kilobytes = status.partition("VmHWM:")[2].split(maxsplit=1)[0]
    return int(kilobytes) / 1024


@dataclass(slots=True)
class Step:
    """A line of the table: what was done, with how many rows, how long, and in what memory."""

    name: str
    rows: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0
    observations: int = 0
    observation_seconds: float = 0.0
    copy_seconds: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> Self:
        reset_peak()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self.megabytes = peak_megabytes()
        said = f"{self.rows:,} rows in {self.seconds:.1f} s, {self.megabytes:.0f} MB"
        print(f"{self.name}: {said}", file=sys.stderr)

    def __call__(self, event: TransferEvent) -> None:
        """Take the time that the observations need, in every stage, out of a transfer's events."""
        if isinstance(event, CollectionFinished) and event.collection == "observations":
            self.observations = event.rows
            self.observation_seconds += event.seconds
            if event.stage is Stage.COPY:
                self.copy_seconds += event.seconds


def rate(rows: int, seconds: float) -> str:
    """Return rows per second, or nothing where there is no such stage."""
    return f"{rows / seconds:,.0f}" if rows and seconds else ""


def print_table(steps: Iterable[Step]) -> None:
    """Print one line for each step."""
    head = ("hop", "rows", "seconds", "rows/s", "obs/s copied", "obs/s verified too", "peak MB")
    lines = [
        (
            step.name,
            f"{step.rows:,}",
            f"{step.seconds:.1f}",
            f"{step.rows / step.seconds:,.0f}",
            rate(step.observations, step.copy_seconds),
            rate(step.observations, step.observation_seconds),
            f"{step.megabytes:.0f}",
        )
        for step in steps
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for first, *others in (head, *lines):
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        print(first.ljust(widths[0]), *cells, sep="  ")


# ---------------------------------------------------------------- the work
@asynccontextmanager
async def fresh_store(name: str, url: str, folder: Path) -> AsyncGenerator[str, None]:
    """Lend the URL of an empty store; a server's is a new database, dropped at the end."""
    embedded = {"memory": "memory://", "sqlite": f"sqlite:///{folder / 'chain.db'}"}
    if name in embedded:
        yield embedded[name]
        return
    parsed = BackendURL.parse(url)
    provision = PROVISIONS[parsed.scheme]
    made = await provision.create(parsed, f"healthstore_example_{uuid4().hex[:12]}")
    try:
        parts = urlsplit(url)
        yield urlunsplit(parts._replace(path=f"/{made.database}", query=urlencode(made.options)))
    finally:
        await provision.drop(made)


async def load(db: DatabaseManager, source: Source, path: Path, limit: int | None) -> int:
    """Load a file through the repository, with every check, and return the number of rows."""
    repository = db.repository(source.entity)
    rows = islice(source.rows(path), limit)
    loaded = 0
    while batch := [source.read(row) for row in islice(rows, BATCH)]:
        loaded += await repository.add_many(batch)
    return loaded


async def check_sample(db: DatabaseManager, source: Source, path: Path, limit: int | None) -> None:
    """Read the first rows of a file once more and hold them against what is stored."""
    times = {"created_at", "updated_at"}  # of the loading, not of the file
    rows = [source.read(row) for row in islice(source.rows(path), min(SAMPLE, limit or SAMPLE))]
    stored = await db.repository(source.entity).get_many([row.id for row in rows])
    for wanted, found in zip(rows, stored, strict=True):
        if found is None or found.model_dump(exclude=times) != wanted.model_dump(exclude=times):
            raise SystemExit(f"{source.file}: a row is not stored as it is in the file")


async def run(data: Path, chain: Mapping[str, str], limit: int | None, output: Path | None) -> None:
    """Load, migrate along the chain, back up, restore, ask; verify after each step."""
    steps: list[Step] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="healthstore-")))
        members = {
            name: await stack.enter_async_context(fresh_store(name, url, folder))
            for name, url in chain.items()
        }
        output = output or folder / "backup.json"
        members["restored"] = f"sqlite:///{folder / 'restored.db'}"
        db = await stack.enter_async_context(DatabaseManager(members=members))
        names = list(chain)
        await db.initialize(*ENTITIES)
        with Step(f"load -> {names[0]}") as step:
            for source in SOURCES:
                started = time.perf_counter()
                count = await load(db, source, data / source.file, limit)
                await check_sample(db, source, data / source.file, limit)
                step.rows += count
                if source.entity is Observation:
                    step.observations = count
                    step.observation_seconds = time.perf_counter() - started
        steps.append(step)
        for left, right in pairwise(names):
            with Step(f"{left} -> {right}") as step:
                report = await db.migrate(left, right, ENTITIES, on_event=step)
                step.rows = report.rows
            steps.append(step)
        with Step(f"{names[-1]} -> {output.name}") as step:
            written = await db.backup(output, ENTITIES, source=names[-1], on_event=step)
            step.rows = written.rows
        steps.append(step)
        with Step(f"{output.name} -> new sqlite") as step:
            restored = await db.restore(output, into="restored", on_event=step)
            step.rows = restored.rows
        steps.append(step)
        with Step(f"verify {names[0]} = restored") as step:
            compared = await db.verify(names[0], "restored", ENTITIES, on_event=step)
            compared.require()
            step.rows = compared.rows
        steps.append(step)
        answers: dict[str, Answers] = {}
        for name in names:
            with Step(f"ask {name}") as step:
                await db.switch(name, verify=False)  # each is compared by now
                answers[name] = await ask(db)
                if db.reads != name:
                    raise SystemExit(f"{name} did not answer for itself")
                step.rows = sum(map(len, answers[name].values()))
            steps.append(step)
        require_same(answers)
    show(answers)
    print_table(steps)
    print(f"equal digests after every hop; {output.name} holds {written.size / 1e6:.0f} MB")


# ---------------------------------------------------------------- the command
def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the files")
    parser.add_argument("--chain", default="sqlite,memory", help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--rows", type=int, default=None, help="at most so many of each file")
    parser.add_argument(
        "--backup", type=Path, help="file to write (default: in a temporary folder)"
    )
    return parser.parse_args()


def servers(names: Iterable[str]) -> dict[str, str]:
    """Return each store's URL by its name in the chain; end with one line if one is not there."""
    found: dict[str, str] = {}
    for name in names:
        if name not in SERVERS or name in found:
            stop(f"--chain: {name!r} is unknown or named twice; known: {', '.join(SERVERS)}")
        variable = SERVERS[name]
        found[name] = os.environ.get(variable, "") if variable else ""
        if variable and not found[name]:
            stop(f"--chain: {name} needs the URL of a server in {variable}")
    return found


def stop(message: str) -> None:
    """End with a line and the exit code for wrong use."""
    print(message, file=sys.stderr)
    raise SystemExit(2)


def main() -> None:
    """Run the example."""
    arguments = read_arguments()
    missing = [each.file for each in SOURCES if not (arguments.data / each.file).is_file()]
    if missing:
        stop(f"--data: {arguments.data} does not hold {', '.join(missing)}")
    chain = servers(name.strip() for name in arguments.chain.split(","))
    try:
        asyncio.run(run(arguments.data, chain, arguments.rows, arguments.backup))
    except HealthstoreError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    except KeyboardInterrupt:  # the databases are dropped by now
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
