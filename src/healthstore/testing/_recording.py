"""What a run of the contract has shown, written to a file: ``--healthstore-record=FILE``."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from healthstore.abc import Backend, Capabilities

__all__ = ("Recorder", "named")

_KEY = "healthstore_proof"


def named(marks: list[pytest.Mark], kind: str) -> tuple[str, ...]:
    """Return what the marks ``healthstore_KIND`` of a test name."""
    return tuple(name for mark in marks if mark.name == f"healthstore_{kind}" for name in mark.args)


class Recorder:
    """A plugin that collects, test by test, which claims were proven on which backend."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capabilities: dict[str, Mapping[str, bool]] = {}
        self._proofs: dict[tuple[str, str], dict[str, object]] = {}
        self._torn: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note at the test's report what it proves; a report reaches the controller of xdist."""
        report = yield
        marks = list(item.iter_markers())
        backend: Backend | None = getattr(item, "funcargs", {}).get("backend")
        if backend is not None and report.when == "call" and named(marks, "claims"):
            proof = {
                "test": getattr(item, "originalname", item.name),
                **{kind: named(marks, kind) for kind in ("claims", "needs", "partly_needs")},
                "backend": backend.name,
                "capabilities": _flags(backend.capabilities),
                "outcome": report.outcome,
            }
            report.user_properties.append((_KEY, json.dumps(proof)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome of a test's cases on a backend."""
        for name, value in report.user_properties:
            if name != _KEY or report.when != "call":
                continue
            proof = json.loads(str(value))
            flags = proof.pop("capabilities")
            if self._capabilities.setdefault(proof["backend"], flags) != flags:
                self._torn.add(proof["backend"])
            kept = self._proofs.setdefault((proof["test"], proof["backend"]), proof)
            if kept["outcome"] == "passed":
                kept["outcome"] = proof["outcome"]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file; a worker of xdist leaves that to its controller.

        Raises pytest.UsageError where one name stood for backends that declare different things.
        """
        if hasattr(session.config, "workeroutput"):
            return
        if self._torn:
            raise pytest.UsageError(
                f"backends of different capabilities are named {', '.join(sorted(self._torn))}: "
                "give each a name of its own, so that the record can tell them apart"
            )
        proofs = [self._proofs[each] for each in sorted(self._proofs)]
        record = {"backends": self._capabilities, "proofs": proofs}
        self._path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", "utf-8")


def _flags(capabilities: Capabilities) -> dict[str, bool]:
    """Return what a backend can or cannot do, by the capability's name."""
    values = {each.name: getattr(capabilities, each.name) for each in fields(capabilities)}
    return {name: value for name, value in values.items() if isinstance(value, bool)}
