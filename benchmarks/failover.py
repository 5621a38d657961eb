"""How long readers wait when their PostgreSQL is lost.

    python -m benchmarks.failover [--runs 20] [--hangs 3] [--server DIR] [--json]

Starts a PostgreSQL of its own with `scripts/test-servers`, copies a small table to a SQLite
standby, and reads without pause in several tasks while the server is killed (`kill -9` of all
its processes) or stopped (SIGSTOP: it hangs). The figure of a run is the longest time that any
reader went without an answer. Prints p50, p99 and the worst over the runs, with the default
policy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Annotated
from uuid import UUID, uuid4

from healthstore import DatabaseManager, Entity, MaxLength
from healthstore.abc import BackendURL
from healthstore.errors import HealthstoreError
from healthstore.events import FailedOver
from healthstore.testing.provision import PROVISIONS

SCRIPT = Path(__file__).parents[1] / "scripts" / "test-servers"
READERS = 4
BEFORE, AFTER = 0.5, 0.5  # seconds of reading before the fault, and after the failover
PATIENCE = 15.0


class Reading(Entity, collection="failover_readings"):
    """A row."""

    device: Annotated[str, MaxLength(40)]


class Server:
    """A PostgreSQL of our own, started by the project's script on a free port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.environment = os.environ | {
            "HEALTHSTORE_TEST_STATE": str(folder),
            "HEALTHSTORE_TEST_POSTGRESQL_PORT": str(port),
        }
        self.folder = folder

    def run(self, command: str) -> str:
        """Run a command of the script."""
        done = subprocess.run(
            [str(SCRIPT), command, "postgresql"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def url(self) -> str:
        """Return the server's URL."""
        return self.run("env").strip().partition("=")[2]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the server."""
        for leader in _pids("-f", str(self.folder)):
            for process in (leader, *_pids("-P", str(leader))):
                with suppress(ProcessLookupError):
                    os.kill(process, number)


def _pids(*arguments: str) -> list[int]:
    done = subprocess.run(["pgrep", *arguments], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]


async def outage(urls: tuple[str, str], fault: Callable[[], None]) -> float:
    """Return the longest time, in seconds, that a reader went without an answer."""
    async with DatabaseManager(members={"primary": urls[0], "standby": urls[1]}) as db:
        readings = db.repository(Reading)
        identity = (await readings.find(limit=1)).items[0].id
        longest = 0.0
        going = True

        async def read(identity: UUID) -> None:
            nonlocal longest
            last = perf_counter()
            while going:
                try:
                    found = await readings.get(identity)
                    assert found is not None, "a reader got a wrong answer"
                except HealthstoreError:
                    await asyncio.sleep(0.01)
                    continue
                now = perf_counter()
                longest = max(longest, now - last)
                last = now
                await asyncio.sleep(0.005)

        carried_over = asyncio.Event()
        db.on(FailedOver, lambda _: carried_over.set())
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(read(identity))
            await asyncio.sleep(BEFORE)
            fault()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await carried_over.wait()
            await asyncio.sleep(AFTER)
            going = False
        if db.reads != "standby":
            raise SystemExit("the readers were never carried over")
        return longest


async def prepare(url: str, standby: str) -> tuple[str, str]:
    """Make a database on the server and its copy; return both URLs."""
    server = BackendURL.parse(url)
    made = await PROVISIONS["postgresql"].create(server, f"failover_{uuid4().hex[:8]}")
    primary = url.rpartition("/")[0] + f"/{made.database}"
    async with DatabaseManager(members={"primary": primary, "standby": standby}) as db:
        await db.initialize(Reading)
        await db.repository(Reading).add_many([Reading(device=f"d{n}") for n in range(100)])
        await db.migrate("primary", "standby")
    return primary, standby


async def measure(server: Server, folder: Path, runs: int, number: signal.Signals) -> list[float]:
    """Return the longest silence of each run."""
    found: list[float] = []
    urls = await prepare(server.url(), f"sqlite:///{folder / f'{number.name}.db'}")
    for _ in range(runs):
        found.append(await outage(urls, lambda: server.signal(number)))
        server.signal(signal.SIGCONT)
        if number is signal.SIGKILL:
            server.run("up")
        await asyncio.sleep(0.5)
    return sorted(found)


def told(name: str, found: list[float], bound: str) -> dict[str, object]:
    """Print the figures of a fault and return them."""
    p50, worst = statistics.median(found), found[-1]
    p99 = found[min(len(found) - 1, round(0.99 * (len(found) - 1)))]
    print(
        f"{name}: p50 {p50:.2f} s, p99 {p99:.2f} s, worst {worst:.2f} s ({len(found)} runs; {bound})"
    )
    return {"fault": name, "p50": p50, "p99": p99, "worst": worst, "runs": len(found)}


async def main(runs: int, hangs: int) -> list[dict[str, object]]:
    """Measure both faults and print the figures."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        server = Server(folder / "server")
        server.run("up")
        try:
            killed = await measure(server, folder, runs, signal.SIGKILL)
            stopped = await measure(server, folder, hangs, signal.SIGSTOP)
        finally:
            server.signal(signal.SIGCONT)
            server.run("down")
    return [
        told("kill -9", killed, "wanted: p50 < 1 s, p99 < 2 s"),
        told("SIGSTOP", stopped, "wanted: < 6 s"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20, help="kills")
    parser.add_argument("--hangs", type=int, default=5, help="stops")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    arguments = parser.parse_args()
    figures = asyncio.run(main(arguments.runs, arguments.hangs))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), "utf-8")
