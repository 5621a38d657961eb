"""The command ``doctor``: what is installed here, and how each member is reached and set up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from healthstore.abc.registry import connect, kind_of
from healthstore.abc.url import BackendURL
from healthstore.cli.doctor.line import Grade, Line
from healthstore.cli.doctor.machine import installed
from healthstore.cli.doctor.member import Checkup, absent_file, failed
from healthstore.cli.exits import Exit
from healthstore.cli.failures import Failure
from healthstore.cli.output import Output
from healthstore.cli.store import Store
from healthstore.config.settings import named_by_kind
from healthstore.errors import HealthstoreError

__all__ = ("Patient", "examine_all", "examine_members")


@dataclass(frozen=True, slots=True)
class Patient:
    """A member to look at; ``trouble`` is told instead where its URL cannot be read."""

    name: str
    url: BackendURL | None
    trouble: Line | None = None

    @classmethod
    def of_all(cls, texts: Sequence[str]) -> list[Patient]:
        """Return the members of URLs, named by their kinds as every command names them."""
        found: list[BackendURL | Line] = []
        for text in texts:
            try:
                found.append(BackendURL.parse(text))
            except HealthstoreError as error:  # one bad URL must not hide the other members
                found.append(failed("URL", error))
        urls = [each for each in found if isinstance(each, BackendURL)]
        names = iter(named_by_kind([None] * len(urls), [kind_of(url) for url in urls]))
        return [
            cls("?", None, each) if isinstance(each, Line) else cls(next(names), each)
            for each in found
        ]


@dataclass(frozen=True, slots=True)
class _Report:
    """The lines of a member, or of this machine."""

    name: str
    url: str
    lines: Sequence[Line]

    def as_json(self) -> dict[str, Any]:
        checks = [asdict(line) for line in self.lines]
        return {"name": self.name, "url": self.url, "checks": checks}


async def examine_members(output: Output, store: Store) -> int:
    """Look at this machine and at the members of a store; return the exit code."""
    return await examine_all(output, _patients(store))


def _patients(store: Store) -> list[Patient]:
    if store.urls and store.config is None:
        return Patient.of_all(store.urls)
    try:
        members = store.settings().members
    except HealthstoreError as error:  # this machine is looked at all the same
        return [Patient("configuration", None, failed("settings", error))]
    return [Patient(each.name, each.backend_url()) for each in members]


async def examine_all(output: Output, patients: Sequence[Patient]) -> int:
    """Look at this machine and at every member, all at once; return the exit code."""
    here = _Report("this machine", "", installed())
    found = await asyncio.gather(*map(_examine, patients))
    reports = [here, *found]
    for report in reports:
        _show(output, report)
    lines = [line for report in reports for line in report.lines]
    counts = {grade: sum(line.grade is grade for line in lines) for grade in Grade}
    output.show(", ".join(f"{count} {grade}" for grade, count in counts.items() if count))
    code = _code(lines)
    if output.manners.quiet:
        _complain(output, found, code)
    output.result(
        {
            "ok": code is Exit.OK,
            "exit": int(code),
            "command": "doctor",
            "machine": here.as_json()["checks"],
            "members": [report.as_json() for report in found],
            "counts": {str(grade): count for grade, count in counts.items()},
        }
    )
    return code


async def _examine(patient: Patient) -> _Report:
    url = patient.url
    if url is None:
        return _Report(patient.name, "", [patient.trouble] if patient.trouble else [])
    absent = absent_file(url)
    if absent is not None:
        return _Report(patient.name, str(url), [absent])
    try:
        backend = connect(url, patient.name)
    except HealthstoreError as error:  # a missing driver, a wrong option: it is a finding
        return _Report(patient.name, str(url), [failed("URL", error)])
    checkup = Checkup(url, backend)
    await checkup.run()
    return _Report(patient.name, str(url), checkup.lines)


def _code(lines: Sequence[Line]) -> Exit:
    bad = [line for line in lines if line.grade is Grade.FAIL]
    if not bad:
        return Exit.OK
    return Exit.UNAVAILABLE if any(line.unreachable for line in bad) else Exit.FAILURE


def _show(output: Output, report: _Report) -> None:
    output.show(f"{report.name}  {report.url}".rstrip())
    width = max((len(line.check) for line in report.lines), default=0)
    for line in report.lines:
        output.show(f"  {line.grade:<4}  {line.check:<{width}}  {line.seen}")
        if line.remedy:
            output.show(f"        {'':<{width}}  → {line.remedy}")
    output.show()


def _complain(output: Output, reports: Sequence[_Report], code: Exit) -> None:
    """Tell what failed as errors, where the report itself is not shown."""
    for report in reports:
        where = f"{report.name} {report.url}".rstrip()
        for line in report.lines:
            if line.grade is Grade.FAIL:
                message = f"{line.check}: {line.seen}"
                output.error(Failure(message, where, line.remedy, "doctor", code))
