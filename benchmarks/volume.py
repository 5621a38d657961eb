"""Many rows through one process: loaded from a file, streamed, copied and read back, and its memory."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.contenders.own import StoredReading
from benchmarks.reading import Reading, make
from healthstore import DatabaseManager
from healthstore.cli.load import Reader
from healthstore.entity import to_documents
from healthstore.transfer import load

__all__ = ("main",)

MOST_MEGABYTES = 96  # of resident memory, whatever the number of rows


def _cells(reading: Reading) -> Iterator[object]:
    for name, value in reading:
        yield json.dumps(value) if name == "detail" else value


def write(path: Path, rows: int) -> None:
    """Write a table of that many readings."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Reading.model_fields)
        writer.writerows(map(_cells, map(make, range(rows))))


def _peak() -> float:
    """Return the most megabytes that were resident since the last step began (Linux)."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) / 1024


@contextmanager
def _step(name: str, rows: int) -> Generator[None, None, None]:
    """Print what a block took for each row, and its peak of memory."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # forgets the peak
    began, worked = perf_counter(), process_time()
    yield
    seconds, worked = perf_counter() - began, process_time() - worked
    each = worked / rows * 1e6
    print(f"{name:8}{rows / seconds:10,.0f}{each:9.1f}{_peak():9.0f}", flush=True)


async def _count(readings: AsyncIterator[StoredReading]) -> int:
    count = 0
    async for _ in readings:
        count += 1
    return count


async def _run(folder: Path, rows: int) -> None:
    file = folder / "readings.csv"
    await asyncio.to_thread(write, file, rows)
    members = {name: f"sqlite:///{folder / name}.db" for name in ("first", "second")}
    async with DatabaseManager(members=members) as db:
        reader = Reader(StoredReading, cells=True)
        print(f"{rows:,} rows, SQLite; at most {MOST_MEGABYTES} MB are wanted")
        print("step        rows/s   µs CPU  peak MB")
        with _step("load", rows):
            await load(
                file,
                reader.collection,
                await db.member("first"),
                reader.entity,
                documents=to_documents,
            )
        with _step("stream", rows):
            found = await _count(db.repository(StoredReading).stream())
        if found != rows:
            raise SystemExit(f"{found:,} rows came back")
        with _step("migrate", rows):
            report = await db.migrate("first", "second")
        if report.rows != rows:
            raise SystemExit(f"{report.rows:,} rows were copied")


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks volume", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many (1000000)")
    parser.add_argument(
        "--folder", type=Path, help="where files are made, and removed (2 kB each row)"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="healthstore-", dir=options.folder) as folder:
        asyncio.run(_run(Path(folder), options.rows))
    return 0
