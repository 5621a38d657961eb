"""Carry real health data through a chain of databases, and prove that nothing changed.

    python examples/real_health_data.py --data DIR --chain sqlite,postgresql,mongodb-rs,memory

DIR holds ``patients.jsonl.gz``, ``observations.csv.gz``, ``foods.jsonl.gz`` and
``chat_sessions.jsonl.gz``. Every row is loaded into the first store with all checks, migrated
from store to store, and compared by digests after each hop; at the end ``backup.json`` is
written, restored into a new SQLite file, and compared again. Servers are those of
``HEALTHSTORE_TEST_*_URL``; each gets a new database that is dropped at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID, uuid4, uuid5

from pydantic import AwareDatetime, BaseModel, JsonValue

from healthstore import (
    DatabaseManager,
    Digits,
    Entity,
    HealthstoreError,
    Index,
    MaxLength,
    Ref,
    Unique,
)
from healthstore.abc import BackendURL
from healthstore.testing.provision import PROVISIONS, SERVERS
from healthstore.transfer import CollectionFinished, Stage, TransferEvent

# ---------------------------------------------------------------- what is kept
Exact = Annotated[Decimal, Digits(28, 20)]
Short = Annotated[str, MaxLength(60)]


class Patient(Entity, collection="patients"):
    """A (synthetic) patient; parts that vary from source to source are kept as JSON."""

    source: Short
    name: dict[str, JsonValue]
    mothers_maiden_name: str | None
    fathers_name: str | None
    gender: Literal["male", "female", "other", "unknown"]
    birth_sex: Literal["M", "F"]
    birth_date: date
    deceased_at: AwareDatetime | None
    marital_status: Short
    race: Short
    ethnicity: Short
    birth_place: dict[str, JsonValue]
    languages: list[str]
    multiple_birth: bool | int
    telecom: list[dict[str, JsonValue]]
    address: dict[str, JsonValue]
    identifiers: list[dict[str, JsonValue]]
    daly: Exact | None
    qaly: Exact | None


class Observation(
    Entity, collection="observations", indexes=[Index("patient_id", "code", "-effective_at")]
):
    """A measurement or finding; a component refers to the observation that it is part of."""

    patient_id: Annotated[UUID, Ref(Patient, on_delete="cascade")]
    encounter_id: UUID
    parent_id: Annotated[UUID, Ref("self", on_delete="set_null")] | None
    category: Short | None
    code: Short
    display: Annotated[str, MaxLength(200)]
    status: Short
    effective_at: AwareDatetime
    issued_at: AwareDatetime
    value_num: Exact | None
    unit: Short | None
    value_code: Short | None
    value_text: str | None
    source: Short


class Portion(BaseModel):
    """A usual amount of a food."""

    seq: int
    amount: Decimal
    measure: str
    gram_weight: Decimal


class Food(Entity, collection="foods"):
    """A food; its many decimals are nested, and keep their digits and zeros as they are."""

    number: Annotated[str, Unique(), MaxLength(5)]
    group_code: Short
    group: Short
    description: Annotated[str, MaxLength(200)]
    short_description: Short
    common_name: str | None
    manufacturer: str | None
    in_survey: bool
    refuse_description: str | None
    refuse_pct: int | None
    scientific_name: str | None
    factors: dict[str, Decimal | None]
    nutrients_per_100g: dict[str, Decimal | None]
    portions: list[Portion]
    langual: list[dict[str, JsonValue]]
    footnotes: list[dict[str, JsonValue]]


class ChatSession(Entity, collection="chat_sessions"):
    """A conversation between doctor and patient, and its summary."""

    session_id: Annotated[str, Unique(), MaxLength(60)]
    source: Short
    section: Short | None
    messages: list[dict[str, str | None]]
    summary: str


# ---------------------------------------------------------------- files to entities
Row = dict[str, Any]
_FOODS = UUID("6f1d5d0c-7a8e-5a55-9a0e-3a1f0f9f7b11")  # a namespace: foods have numbers, not UUIDs


def json_lines(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON Lines file; no decimal becomes a float."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line, parse_float=Decimal)


def csv_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file; an empty cell is None."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: value or None for name, value in row.items()}


def plain_floats(value: Any) -> Any:
    """Return JSON whose decimals are floats, for the open parts of a patient (coordinates)."""
    if isinstance(value, dict):
        return {name: plain_floats(item) for name, item in value.items()}
    return float(value) if isinstance(value, Decimal) else value


def patient(row: Row) -> Patient:
    """Read a patient."""
    return Patient.model_validate({**row, "address": plain_floats(row["address"])})


def food(row: Row) -> Food:
    """Read a food: its number becomes a field, and an id is made of it."""
    number = row.pop("id")
    return Food.model_validate({**row, "id": uuid5(_FOODS, number), "number": number})


@dataclass(frozen=True, slots=True)
class Source:
    """A file, the entity that its rows are, and how they are read."""

    file: str
    entity: type[Entity]
    rows: Callable[[Path], Iterator[Row]]
    read: Callable[[Row], Entity]


SOURCES = (
    Source("patients.jsonl.gz", Patient, json_lines, patient),
    Source("observations.csv.gz", Observation, csv_rows, Observation.model_validate),
    Source("foods.jsonl.gz", Food, json_lines, food),
    Source("chat_sessions.jsonl.gz", ChatSession, json_lines, ChatSession.model_validate),
)
ENTITIES = tuple(source.entity for source in SOURCES)
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
    """Load, migrate along the chain, back up, restore; verify after each step."""
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
    print_table(steps)
    print(f"equal digests after every hop; {output.name} holds {written.size / 1e6:.0f} MB")


# ---------------------------------------------------------------- the command
def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the four files")
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
