"""Measure healthstore and its peers side by side.

    python -m benchmarks                             every server that is known
    python -m benchmarks postgresql sqlite --quick   some of them, briefly
    python -m benchmarks report FILE...              figures of runs as Markdown
    python -m benchmarks memory                      our own CPU of one call
    python -m benchmarks overhead                    the same, layer by layer
    python -m benchmarks failover                    how long readers wait at a loss
    python -m benchmarks evolution                   what a change of the schema costs
    python -m benchmarks claim                       jobs that sixteen workers share out
    python -m benchmarks questions                   days, latest of each, percentiles
    python -m benchmarks bulk                        changes and deletes by a condition
    python -m benchmarks volume                      a million rows, and the memory they take

A server is named by HEALTHSTORE_TEST_<NAME>_URL, or by --url; its database is left alone: each
contender has one of its own, made beside it and dropped afterwards, also after Ctrl-C and SIGTERM. SQLite's
files are in the folder of temporary files (TMPDIR).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import bulk, claim, evolution, failover, memory, overhead, questions, report, volume
from benchmarks.contender import Cannot
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import Figures, Part, read, write
from benchmarks.measure import MOST_CALLS, MOST_TASKS, Plan, measure
from benchmarks.servers import BACKENDS, located
from benchmarks.workload import OPERATIONS
from healthstore.abc import BackendURL
from healthstore.errors import HealthstoreError

__all__ = ("main",)


def main(arguments: Sequence[str]) -> int:
    """Run the command, and return its exit code: 1 if anything could not be measured."""
    if arguments and arguments[0] in _OTHERS:
        return _OTHERS[arguments[0]](arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.url and len(options.backends) != 1:
        parser.error("--url is the server of one backend: name that one")
    try:
        return asyncio.run(_run(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted: the databases of the contenders are dropped", file=sys.stderr)
        return 130


async def _run(options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    if task:
        with suppress(NotImplementedError):  # on Windows there is no such signal
            # As Ctrl-C does: `timeout` and a service manager end a program so.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    plan = Plan(
        rounds=options.rounds or (2 if options.quick else 5),
        rows=options.rows or (2_000 if options.quick else 20_000),
        calls=options.calls or (40 if options.quick else 200),
        tasks=options.tasks,
        operations=options.operations or tuple(OPERATIONS),
        contenders=options.contenders or (),
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    figures = Figures(
        when=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        machine=_machine(),
        python=platform.python_version(),
        rounds=plan.rounds,
        rows=plan.rows,
        calls=plan.calls,
    )
    for name in options.backends or BACKENDS:
        figures.parts.append(await _part(name, options.url, plan))
    print(report.as_text(figures))
    if options.json:
        write(figures, options.json)
    wrong = [line for part in figures.parts for line in part.lines if line.problem]
    return 1 if wrong or any(part.problem for part in figures.parts) else 0


async def _part(name: str, text: str | None, plan: Plan) -> Part:
    """Return the figures of a backend, or why there are none."""
    try:
        url = BackendURL.parse(text) if text else located(name, os.environ)
        return await measure(name, url, plan)
    except (Cannot, HealthstoreError, OSError) as error:
        return Part(name, "", problem=str(error))


def _machine() -> str:
    """Return what this machine is: its processor, how many, and its system."""
    models = [
        line.partition(":")[2].strip()
        for line in _read(Path("/proc/cpuinfo")).splitlines()
        if line.startswith("model name")
    ]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("backends", nargs="*", type=_one_of(BACKENDS), metavar="BACKEND", help=", ".join(BACKENDS))
    add("--url", help="the server of the one backend that is named")
    add("--rounds", type=_counted(), help="times that each contender has its turn (5)")
    add("--rows", type=_counted(), help="rows of a bulk insert and a stream (20000)")
    add(
        "--calls",
        type=_counted(MOST_CALLS),
        help="calls of one task, 8 times as many together (200)",
    )
    add(
        "--tasks",
        type=_counted(MOST_TASKS),
        nargs="+",
        default=(1, 64),
        help="tasks at once (1 64)",
    )
    add("--operations", nargs="+", choices=OPERATIONS, metavar="NAME", help=", ".join(OPERATIONS))
    add("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME", help=", ".join(CONTENDERS))
    add("--quick", action="store_true", help="2 rounds, 2000 rows, 40 calls")
    add("--json", type=Path, metavar="FILE", help="write all figures to this file, too")
    return parser


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def read_name(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
        return text

    return read_name


def _counted(most: int = sys.maxsize) -> Callable[[str], int]:
    def read_number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {most}")
        return int(text)

    return read_number


def _report(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks report", description="Print figures of runs as Markdown."
    )
    parser.add_argument("files", nargs="+", type=Path, help="written by --json")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="replace the figures of a page")
    options = parser.parse_args(arguments)
    text = report.as_markdown(read(options.files))
    if options.into:
        report.put_into(options.into, text)
    else:
        print(text)
    return 0


_OTHERS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "bulk": bulk.main,
    "claim": claim.main,
    "evolution": evolution.main,
    "failover": failover.main,
    "memory": memory.main,
    "overhead": overhead.main,
    "questions": questions.main,
    "report": _report,
    "volume": volume.main,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
