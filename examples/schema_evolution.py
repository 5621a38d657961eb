"""Take patients and what was observed of them through the releases of a service, and back.

    python examples/schema_evolution.py --data DIR --chain sqlite,postgresql,mongodb-rs,memory

The migrations are the files of ``examples/schema_evolution``: fields are added, renamed, split and
narrowed, a key is made unique, a collection made of another one. Each store of the chain goes up
by them and down again. At each release the entities of that release read every row, and their
digest must be the same on every store and in both directions.

DIR holds ``patients.jsonl.gz`` and ``observations.csv.gz``; without it rows are made up. Servers
are those of ``HEALTHSTORE_TEST_*_URL``; each gets a new database that is dropped at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, JsonValue
from real_health.records import Row, csv_rows, json_lines
from real_health_data import fresh_store, servers, stop

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
from healthstore.testing.provision import SERVERS

MIGRATIONS = Path(__file__).with_suffix("")
PATIENTS, OBSERVATIONS = "patients.jsonl.gz", "observations.csv.gz"
BATCH = 1_000
E = TypeVar("E", bound=Entity)

# ---------------------------------------------------------------- what each release keeps
Exact = Annotated[Decimal, Digits(28, 20)]
Text20 = Annotated[str, MaxLength(20)]
Text40 = Annotated[str, MaxLength(40)]
Text60 = Annotated[str, MaxLength(60)]
Text100 = Annotated[str, MaxLength(100)]
Text120 = Annotated[str, MaxLength(120)]
Text200 = Annotated[str, MaxLength(200)]
MEASURED = (Index("patient_id", "code", "-effective_at"), Index("code", "effective_at"))


class Patient1(Entity, collection="patients", indexes=[Index("name")]):
    """A patient of the first release."""

    chart: Text40
    name: Text120
    gender: Literal["female", "male", "other", "unknown"]
    birth_date: date
    birth_place: dict[str, JsonValue]


class Observation1(Entity, collection="observations", indexes=MEASURED[:1]):
    """What was observed of a patient."""

    patient_id: UUID
    encounter_id: UUID
    code: Text60
    display: Text200
    effective_at: AwareDatetime
    value_num: Exact | None
    unit: Text60 | None


class Patient2(Patient1, collection="patients", indexes=[Index("name")]):
    """Has a phone, and may have gone."""

    phone: Text40 | None = None
    active: bool = True


class Observation2(Observation1, collection="observations", indexes=MEASURED):
    """Is found by its code."""


class Measurement3(Entity, collection="measurements", indexes=MEASURED):
    """Was called an observation."""

    patient_id: UUID
    encounter_id: UUID
    code: Text60
    display: Text200
    effective_at: AwareDatetime
    value: Exact | None
    unit: Text60 | None


class Patient4(Entity, collection="patients", indexes=[Index("last_name", "first_name")]):
    """Has two names."""

    chart: Text40
    first_name: Text120
    last_name: Text120
    gender: Literal["female", "male", "other", "unknown"]
    birth_date: date
    birth_place: dict[str, JsonValue]
    phone: Text40 | None = None
    active: bool = True


class Measurement5(Measurement3, collection="measurements", indexes=MEASURED):
    """Has a short code."""

    code: Text20
    display: Text100


class Patient6(
    Patient4,
    collection="patients",
    indexes=[Index("last_name", "first_name"), Unique("chart")],
):
    """Has a chart that nobody else has."""


class Encounter7(Entity, collection="encounters", indexes=[Index("patient_id", "began_at")]):
    """When measurements were taken together."""

    patient_id: UUID
    began_at: AwareDatetime
    taken: int


class Encounter8(Encounter7, collection="encounters", indexes=[Index("patient_id", "began_at")]):
    """Refers to its patient."""

    patient_id: Annotated[UUID, Ref(Patient6, on_delete="cascade")]


class Measurement8(Measurement5, collection="measurements", indexes=MEASURED):
    """Refers to its patient and encounter."""

    patient_id: Annotated[UUID, Ref(Patient6, on_delete="cascade")]
    encounter_id: Annotated[UUID, Ref(Encounter8, on_delete="cascade")]


Direction: TypeAlias = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Release:
    """The last migration of a release, and the entities that its program has."""

    migration: str
    entities: tuple[type[Entity], ...]
    drops: tuple[Direction, ...] = ()
    """In which directions its migration drops what documents hold: that wants ``allow_loss``."""


FIRST = Release("0001_first_release", (Patient1, Observation1))
RELEASES = (
    FIRST,
    Release("0002_add_phone_and_active", (Patient2, Observation2)),
    Release("0003_call_them_measurements", (Patient2, Measurement3)),
    Release("0004_split_the_name", (Patient4, Measurement3), drops=("up", "down")),
    Release("0005_shorter_codes", (Patient4, Measurement5)),
    Release("0006_one_chart_each", (Patient6, Measurement5)),
    Release("0007_encounters", (Patient6, Measurement5, Encounter7), drops=("down",)),
)
REFERRING = Release("0008_references", (Patient6, Encounter8, Measurement8))


# ---------------------------------------------------------------- the rows of the first release
@dataclass(frozen=True, slots=True)
class Rows:
    """Patients, and what was observed of them."""

    patients: list[Patient1]
    observations: list[Observation1]


def read_rows(data: Path, limit: int) -> Rows:
    """Read at most so many observations, and a tenth as many patients."""
    patients = [patient(row) for row in islice(json_lines(data / PATIENTS), limit // 10)]
    known = {each.id for each in patients}
    observed = map(observation, islice(csv_rows(data / OBSERVATIONS), limit))
    return Rows(patients, [each for each in observed if each.patient_id in known])


def patient(row: Row) -> Patient1:
    """Read a patient; as on paper, the chart is an initial and a year."""
    name = row["name"]
    return Patient1.model_validate(
        {
            **{key: row[key] for key in ("id", "gender", "birth_date", "birth_place")},
            "name": " ".join([*name["given"], name["family"]]),
            "chart": f"{name['family'][0]}{row['birth_date'][:4]}",
        }
    )


def observation(row: Row) -> Observation1:
    """Read what this service keeps of an observation."""
    kept = row.keys() & Observation1.model_fields.keys()
    return Observation1.model_validate({key: row[key] for key in kept})


def made_up_rows(limit: int) -> Rows:
    """Make up so many observations, ten of a patient, two of an encounter."""
    start = datetime(2026, 1, 5, 7, tzinfo=UTC)
    patients = [
        Patient1(
            id=UUID(int=number + 1),
            chart=f"{'LRF'[number % 3]}{1950 + number % 50}",
            name=f"{GIVEN[number % 4]} {FAMILY[number % 3]}",
            gender="other",
            birth_date=date(1950 + number % 50, 1 + number % 12, 1),
            birth_place={"city": "Springfield", "number": number},
        )
        for number in range(max(limit // 10, 1))
    ]
    observations = [
        Observation1(
            id=UUID(int=number + 1),
            patient_id=patients[number // 10 % len(patients)].id,
            encounter_id=UUID(int=number // 2 + 1),
            code="29463-7",
            display="Body Weight",
            effective_at=start + timedelta(hours=number),
            value_num=Decimal(700 + number % 90) / 10 if number % 7 else None,
            unit="kg",
        )
        for number in range(limit)
    ]
    return Rows(patients, observations)


GIVEN = ("Ann", "Bob Ray", "Chloé", "Þóra")
FAMILY = ("Lee", "van Rijn", "Fox")


# ---------------------------------------------------------------- the way of one store
@dataclass(frozen=True, slots=True)
class Seen:
    """What a store held at a release, and how long it took to come there."""

    rows: int
    digest: str
    seconds: float


@dataclass(slots=True)
class Way:
    """What was seen of a store on its way up and down."""

    store: str
    seen: dict[tuple[str, Direction], Seen] = field(default_factory=dict)


async def travel(db: DatabaseManager, way: Way, rows: Rows) -> None:
    """Take a store up and down again; look at all its rows at each release."""
    store = await db.member(db.active)
    releases = [*RELEASES, *([REFERRING] if store.capabilities.references else [])]
    started = time.perf_counter()
    await db.schema.upgrade(FIRST.migration, MIGRATIONS)
    await add(db, Patient1, rows.patients)
    await add(db, Observation1, rows.observations)
    way.seen[FIRST.migration, "up"] = await look(db, FIRST, started)
    for each in releases[1:]:
        started = time.perf_counter()
        await db.schema.upgrade(each.migration, MIGRATIONS, allow_loss="up" in each.drops)
        way.seen[each.migration, "up"] = await look(db, each, started)
    # The rolling phase, in which programs of two releases write at once, goes here.
    for each, left in reversed(list(pairwise(releases))):
        started = time.perf_counter()
        await db.schema.downgrade(each.migration, MIGRATIONS, allow_loss="down" in left.drops)
        way.seen[each.migration, "down"] = await look(db, each, started)


async def add(db: DatabaseManager, entity: type[E], rows: Sequence[E]) -> None:
    """Add rows of the first release; not every store can promise that it is all or none."""
    repository = db.repository(entity)
    for start in range(0, len(rows), BATCH):
        added = await repository.add_many(rows[start : start + BATCH], mode="best_effort")
        for each in added.errors:
            raise each.error


async def look(db: DatabaseManager, release: Release, started: float) -> Seen:
    """Read every row as the release's program does, and return what was seen since a time."""
    seconds = time.perf_counter() - started
    if plan := await db.schema.plan(*release.entities):
        raise SystemExit(f"{release.migration} does not lead to its entities:\n{plan}")
    digest, count = hashlib.blake2b(digest_size=8), 0
    for entity in release.entities:
        async for row in db.repository(entity).stream(order=["id"]):
            held = row.model_dump(mode="json", exclude={"version"})
            digest.update(json.dumps(held, sort_keys=True).encode())
            count += 1
    return Seen(count, digest.hexdigest(), seconds)


# ---------------------------------------------------------------- all of them
async def run(rows: Rows, chain: Mapping[str, str]) -> None:
    """Take each store of the chain through the releases; compare, and print the table."""
    ways: list[Way] = []
    with tempfile.TemporaryDirectory(prefix="healthstore-") as folder:
        for name, url in chain.items():
            started = time.perf_counter()
            async with (
                fresh_store(name, url, Path(folder)) as member,
                DatabaseManager(member) as db,
            ):
                ways.append(Way(name))
                await travel(db, ways[-1], rows)
            print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
    print_table(ways)
    differences = compare(ways)
    for each in differences:
        print(each, file=sys.stderr)
    if differences:
        raise SystemExit("the rows are not the same everywhere")
    print("equal digests on every store, and back again what they were before")


def compare(ways: Sequence[Way]) -> list[str]:
    """Return where a store differs from the first one that came to a release."""
    told: list[str] = []
    first: dict[str, tuple[str, Seen]] = {}
    for way in ways:
        for (migration, direction), seen in way.seen.items():
            place = f"{way.store} on its way {direction}"
            reference, wanted = first.setdefault(migration, (place, seen))
            if (seen.rows, seen.digest) != (wanted.rows, wanted.digest):
                told.append(f"{migration}: {place} differs from {reference}")
    return told


def print_table(ways: Sequence[Way]) -> None:
    """Print a line for each release."""
    print("seconds to come to a release, up/down; the first one is made and filled")
    lines = [("release", "rows", "digest", *(way.store for way in ways))]
    for each in (*RELEASES, REFERRING):
        seen = [way.seen.get((each.migration, "up")) for way in ways]
        found = next((one for one in seen if one is not None), None)
        if found is not None:
            times = (seconds(way, each) for way in ways)
            lines.append((each.migration, f"{found.rows:,}", found.digest, *times))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        print(first.ljust(widths[0]), *cells, sep="  ")


def seconds(way: Way, release: Release) -> str:
    """Return how long it took a store to come to a release from below, and from above."""
    found = (way.seen.get((release.migration, direction)) for direction in ("up", "down"))
    return "/".join("-" if each is None else f"{each.seconds:.2f}" for each in found)


# ---------------------------------------------------------------- the command
def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help=f"folder with {PATIENTS} and {OBSERVATIONS}")
    parser.add_argument("--chain", default="sqlite,memory", help=f"of {', '.join(SERVERS)}")
    parser.add_argument(
        "--rows", type=int, help="at most so many observations (default: 2000, made up 500)"
    )
    return parser.parse_args()


def main() -> None:
    """Run the example."""
    arguments = read_arguments()
    data: Path | None = arguments.data
    missing = [each for each in (PATIENTS, OBSERVATIONS) if data and not (data / each).is_file()]
    if missing:
        stop(f"--data: {data} does not hold {', '.join(missing)}")
    chain = servers(name.strip() for name in arguments.chain.split(","))
    limit: int | None = arguments.rows
    rows = read_rows(data, limit or 2_000) if data else made_up_rows(limit or 500)
    try:
        asyncio.run(run(rows, chain))
    except HealthstoreError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    except KeyboardInterrupt:  # the databases are dropped by now
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
