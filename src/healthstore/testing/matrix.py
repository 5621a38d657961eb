"""The matrix: each claim on each backend, kept natively, emulated, or refused and why.

``healthstore matrix FILE...`` makes it of runs of the contract with ``--healthstore-record=FILE``.
``python -m healthstore.testing.matrix`` makes the same page of what is declared: the marks of the
tests, and the tables of :mod:`healthstore.testing.claims`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from healthstore.errors import InvalidRequestError
from healthstore.testing.claims import ABSENT, CLAIMS, COLUMNS, EMULATIONS, PLANNED, SUBJECTS

__all__ = ("Matrix", "Proof", "Run", "declared", "read_runs")

_HEAD = """# Matrix

Each line is a promise that tests of the [contract](../how-to/run-the-contract-suite.md) prove on
every backend. This page is made of those tests and of what the backends declare
([how](../decisions/0034-a-claim-has-a-test-behind-it.md)): do not edit it, but run
`python -m healthstore.testing.matrix > docs/reference/matrix.md`.

- **native**: the database keeps the promise, as the library asks it to.
- **emulated**: the database has nothing that is exact here, and the library keeps it; the number
  tells how.
- **refused**: the backend does not have the capability that is named, and each request that needs
  it raises `CapabilityError` before any I/O. In part: the rest of the line holds.
  `stops_cancelled` is declared only: a cancellation cannot be refused.
- **planned**: no test of the contract proves it yet.

`mongodb` is one server, `mongodb-rs` a replica set.
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """A test of the contract: the claims that it proves, and the capabilities that it needs."""

    claims: tuple[str, ...]
    needs: tuple[str, ...] = ()
    partly_needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is claimed of some backends: the tests by name, and what each backend lacks."""

    proofs: Mapping[str, Proof]
    absent: Mapping[str, frozenset[str]]

    def cell(self, claim: str, backend: str) -> str:
        """Return how a backend keeps a claim."""
        absent = self.absent[backend]
        tests = [proof for proof in self.proofs.values() if claim in proof.claims]
        if not tests:
            return "planned"
        wholly = [absent.intersection(proof.needs) for proof in tests]
        partly = [absent.intersection(proof.partly_needs) for proof in tests]
        refused = f"refused ({', '.join(sorted(frozenset[str]().union(*wholly, *partly)))})"
        if all(wholly):
            return refused
        manner = _manner(claim, backend)
        return f"{manner}; in part {refused}" if any((*wholly, *partly)) else manner

    def cells(self) -> dict[str, dict[str, str]]:
        """Return every cell by claim and backend."""
        return {claim: {name: self.cell(claim, name) for name in self.absent} for claim in CLAIMS}

    def page(self) -> str:
        """Return the page, in Markdown."""
        lines = [_HEAD.rstrip()]
        for letter, subject in SUBJECTS.items():
            lines += ["", f"## {subject}", "", *_table(("", "promise", *self.absent))]
            for claim, promise in CLAIMS.items():
                if claim.rstrip("0123456789") == letter:
                    cells = (self.cell(claim, backend) for backend in self.absent)
                    lines.append(_row((f"**{claim}**", promise, *cells)))
        lines += ["", "## How it is emulated", ""]
        lines += [f"{number}. {each.how}" for number, each in enumerate(EMULATIONS, 1)]
        planned = [claim for claim in CLAIMS if not self._proven(claim)]
        if planned:
            lines += ["", "## Planned", "", *_table(("", "why no test of the contract proves it"))]
            lines += [_row((f"**{claim}**", PLANNED.get(claim, ""))) for claim in planned]
        return "\n".join(lines) + "\n"

    def _proven(self, claim: str) -> bool:
        return any(claim in proof.claims for proof in self.proofs.values())


@dataclass(slots=True)
class Run:
    """What runs of the contract have shown: which test ended how on which backend."""

    proofs: dict[str, Proof] = field(default_factory=dict[str, Proof])
    absent: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    outcomes: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def only(self, backends: Sequence[str]) -> Run:
        """Return what was shown of some backends; of all without any name.

        Raises InvalidRequestError for one of which nothing was recorded.
        """
        known = [*(each for each in COLUMNS if each in self.absent), *sorted(self.absent)]
        names = list(dict.fromkeys(backends or known))
        unknown = [name for name in names if name not in self.absent]
        if unknown:
            raise InvalidRequestError(
                f"nothing was recorded of {', '.join(unknown)}",
                hint=f"there is {', '.join(dict.fromkeys(known))}",
            )
        return Run(self.proofs, {name: self.absent[name] for name in names}, self.outcomes)

    def matrix(self) -> Matrix:
        """Return what the tests that were run claim of the backends on which they were run."""
        return Matrix(self.proofs, self.absent)

    def gaps(self) -> Iterator[str]:
        """Yield what is claimed and was not proven, in words: a claim, its backend and its test."""
        for backend in self.absent:
            for test, proof in self.proofs.items():
                outcome = self.outcomes.get((test, backend), "not run")
                if outcome != "passed":
                    yield f"{', '.join(proof.claims)} on {backend}: {test} {outcome}"


def declared() -> Matrix:
    """Return what the tests of the contract and the tables of claims say. Needs pytest."""
    from healthstore.testing._recording import named  # noqa: PLC0415 - needs pytest
    from healthstore.testing.contract import ContractTests  # noqa: PLC0415 - as above

    proofs: dict[str, Proof] = {}
    for name in dir(ContractTests):
        marks = getattr(getattr(ContractTests, name), "pytestmark", [])
        if name.startswith("test_") and (claims := named(marks, "claims")):
            proofs[name] = Proof(claims, named(marks, "needs"), named(marks, "partly_needs"))
    return Matrix(proofs, ABSENT)


def read_runs(paths: Iterable[Path]) -> Run:
    """Return what several files of ``--healthstore-record`` hold together.

    Of a test that several files tell of, on one backend, the worse outcome counts. Raises
    OSError for a file that cannot be read, InvalidRequestError for one that is no record.
    """
    run = Run()
    for path in paths:
        text = path.read_text("utf-8")
        try:
            record = json.loads(text)
            for name, flags in record["backends"].items():
                run.absent[name] = frozenset(each for each, there in flags.items() if not there)
            for each in record["proofs"]:
                _add(run, each)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidRequestError(
                f"{path.name} is no record of the contract",
                hint="make one with pytest --healthstore-record=FILE",
            ) from None
    return run


def _add(run: Run, record: Mapping[str, object]) -> None:
    test, backend, outcome = (str(record[each]) for each in ("test", "backend", "outcome"))
    kinds = ("claims", "needs", "partly_needs")
    run.proofs[test] = Proof(*(tuple(cast("list[str]", record[each])) for each in kinds))
    if run.outcomes.get((test, backend), "passed") == "passed":
        run.outcomes[test, backend] = outcome


def _manner(claim: str, backend: str) -> str:
    numbers = [
        str(number)
        for number, each in enumerate(EMULATIONS, 1)
        if claim in each.claims and backend in each.columns
    ]
    if numbers:
        return f"emulated ({', '.join(numbers)})"
    return "native" if backend in COLUMNS else "kept"


def _table(names: Sequence[str]) -> tuple[str, str]:
    return _row(names), _row(["---"] * len(names))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(declared().page())
