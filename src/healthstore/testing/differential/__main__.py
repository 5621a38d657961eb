"""The command line of the differential test."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from healthstore.entity.derive import derive
from healthstore.errors import ConfigurationError, HealthstoreError
from healthstore.testing.differential.compare import Difference, compare
from healthstore.testing.differential.drawing import draw_program
from healthstore.testing.differential.programs import Program, from_json, to_json
from healthstore.testing.differential.shrink import shrink
from healthstore.testing.differential.stores import Place
from healthstore.testing.provision import SERVERS, server_url

__all__ = ("main",)

_DEFAULT_MINUTES = 1.0
_PROGRESS = 10.0  # seconds
_PAUSE = 0.05  # seconds
_AHEAD = 3  # times as many programs as on the slowest backend: a fast one leaves the others time


def main(arguments: Sequence[str] | None = None, places: Sequence[Place] = ()) -> int:
    """Run the command; return 1 if a difference was found, 2 if nothing could be run.

    ``places`` are run besides those of ``--backends``: a backend that is not this library's.
    """
    options = _parser().parse_args(arguments)
    try:
        places = [*places, *(_place(name) for name in options.backends.split(",") if name)]
        if options.replay is not None:
            written = json.loads(Path(options.replay).read_text("utf-8"))
            return asyncio.run(_replay(cast(Program, from_json(written)), places))
        return asyncio.run(_run(options, places))
    except HealthstoreError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m healthstore.testing.differential",
        description="Run random programs on memory and on other backends, and compare each answer.",
        epilog="The URLs of servers are read from HEALTHSTORE_TEST_<NAME>_URL; each program gets "
        "a database of its own there, which is dropped afterwards.",
    )
    parser.add_argument("--seed", type=int, default=0, help="begins the sequence of programs")
    parser.add_argument("--first", type=int, default=0, help="the number of the first program")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--minutes", type=float, help=f"default: {_DEFAULT_MINUTES:g}")
    amount.add_argument("--programs", type=int, help="so many on each backend")
    parser.add_argument(
        "--backends",
        default="sqlite",
        help=f"separated by commas, of {', '.join(SERVERS)} (default: sqlite)",
    )
    parser.add_argument("--replay", help="a file that a run wrote: run this program only")
    parser.add_argument("--out", default=".", help="the folder for programs that differ")
    parser.add_argument("--attempts", type=int, default=150, help="to make such a program small")
    return parser


def _place(name: str) -> Place:
    if name not in SERVERS:
        raise ConfigurationError(
            f"there is no backend {name!r}", hint=f"known: {', '.join(SERVERS)}"
        )
    url = server_url(name, os.environ)
    if url is None:
        raise ConfigurationError(
            f"there is no URL of {name}", hint=f"set {SERVERS[name]} to that of a test server"
        )
    return Place(name, url)


async def _replay(program: Program, places: Sequence[Place]) -> int:
    code = 0
    for place in places:
        difference = (await compare(program, place)).difference
        print(f"{place.name}: {difference or 'no difference'}")
        code = code or int(difference is not None)
    return code


@dataclass(slots=True)
class _Column:
    """What was done on one backend."""

    place: Place
    programs: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    differences: dict[tuple[str, ...], int] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return sum(count for name, count in self.reached.items() if name.startswith("step "))


async def _run(options: argparse.Namespace, places: Sequence[Place]) -> int:
    columns = [_Column(place) for place in places]
    minutes = _DEFAULT_MINUTES if options.minutes is None else options.minutes
    deadline = None if options.programs else time.monotonic() + 60 * minutes
    watching = asyncio.create_task(_watch(columns))
    await asyncio.gather(*(_run_column(each, columns, options, deadline) for each in columns))
    watching.cancel()
    return _report(options.seed, columns)


async def _watch(columns: Sequence[_Column]) -> None:
    while True:
        await asyncio.sleep(_PROGRESS)
        print("  ".join(f"{each.place.name} {each.programs}" for each in columns), flush=True)


async def _run_column(
    column: _Column,
    columns: Sequence[_Column],
    options: argparse.Namespace,
    deadline: float | None,
) -> None:
    number = options.first
    while True:
        program = draw_program(options.seed, number)
        verdict = await compare(program, column.place)
        derive.cache_clear()  # else the classes of every program stay
        column.programs += 1
        column.reached.update(verdict.reached)
        if verdict.difference is not None:
            await _note(column, options, number, program, verdict.difference)
        number += 1
        if deadline is None:
            if number == options.first + options.programs:
                return
        elif not await _goes_on(column, columns, deadline):
            return


async def _goes_on(column: _Column, columns: Sequence[_Column], deadline: float) -> bool:
    """Tell whether there is time for another program, when it is this backend's turn."""
    while time.monotonic() < deadline:
        if column.programs <= _AHEAD * (1 + min(each.programs for each in columns)):
            return True
        await asyncio.sleep(_PAUSE)
    return False


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


async def _note(
    column: _Column,
    options: argparse.Namespace,
    number: int,
    program: Program,
    difference: Difference,
) -> None:
    """Report a difference, once for all of its kind."""
    seen = column.differences.get(difference.signature, 0)
    column.differences[difference.signature] = seen + 1
    if seen:
        return

    async def run(smaller: Program) -> Difference | None:
        return (await compare(smaller, column.place)).difference

    small, shown = await shrink(program, difference, run, attempts=options.attempts)
    name = f"differential-{column.place.name}-{options.seed}-{number}.json"
    path = Path(options.out) / name
    await asyncio.to_thread(_keep, path, json.dumps(to_json(small), indent=1))
    print(
        f"DIFFERENCE on {column.place.name}, seed {options.seed}, program {number}: {shown}\n"
        f"  {len(small.steps)} of {len(program.steps)} steps are left; once more:\n"
        f"  python -m healthstore.testing.differential --backends {column.place.name} "
        f"--replay {path}",
        flush=True,
    )


def _report(seed: int, columns: Sequence[_Column]) -> int:
    reached: Counter[str] = Counter()
    for each in columns:
        reached.update(each.reached)
    kinds = ("kind", "schema", "reference", "check", "operator", "term", "measure", "bucket")
    for group in (*kinds, "error", "inside"):
        found = sorted(
            (name, count) for name, count in reached.items() if name.startswith(f"{group} ")
        )
        print(
            f"{group}: " + ", ".join(f"{name[len(group) + 1 :]} {count}" for name, count in found)
        )
    for each in columns:
        steps = ", ".join(
            f"{name[5:]} {count}"
            for name, count in sorted(each.reached.items())
            if name.startswith("step ")
        )
        print(f"{each.place.name}: {steps}")
    for each in columns:
        for signature, count in each.differences.items():
            print(f"{each.place.name}: {count} programs: {' | '.join(signature)}")
    totals = ", ".join(
        f"{each.place.name} {each.programs} programs {each.steps} steps "
        f"{sum(each.differences.values())} differences"
        for each in columns
    )
    print(f"seed {seed}: {totals}")
    return int(any(each.differences for each in columns))


if __name__ == "__main__":
    raise SystemExit(main())
