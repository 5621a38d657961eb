"""A command as a user runs it: in a folder of its own, with nothing of ours in the environment."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from tests.cli.commands import Ended, Run

from healthstore.cli import main

MODELS = dedent(
    """
    from decimal import Decimal
    from typing import Annotated
    from uuid import UUID

    from pydantic import AwareDatetime, JsonValue, field_validator

    from healthstore import Digits, Entity, MaxLength, Ref, Unique


    class Patient(Entity, collection="patients"):
        email: Annotated[str, MaxLength(100), Unique()]
        notes: list[JsonValue] = []

        @field_validator("email")
        @classmethod
        def has_an_at(cls, value: str) -> str:
            if "@" not in value:
                raise ValueError(f"{value} is no address")
            return value


    class Weight(Entity, collection="weights"):
        kg: Annotated[Decimal, Digits(6, 2)] | None = None
        taken_at: AwareDatetime | None = None
        patient_id: Annotated[UUID, Ref(Patient)] | None = None
    """
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder that holds only ``clinic.py``, without variables of ours."""
    (tmp_path / "clinic.py").write_text(MODELS, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [each for each in os.environ if each.startswith("HEALTHSTORE")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Return a function that runs a command in this process, as the console script does."""
    del folder
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def ended(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ended(int(code), captured.out, captured.err)

    yield ended
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in {"broken", "clinic", "needy"} & set(sys.modules):
        del sys.modules[name]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let the test, and the programs it starts, be interrupted where a job or nohup forbids it."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
