"""A plan tells how long a change may take, by the order of magnitude."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, Index, MaxLength
from healthstore.schema import AddIndex, ChangeEffect, PlannedChange


def changed(seconds: float | None) -> PlannedChange:
    """Return a change that takes so long."""
    operation = AddIndex("patients", Index("name"))
    return PlannedChange(operation, ChangeEffect.ADDITIVE, 2_000, 0, seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (None, ""),
        (0.0, "1 s"),
        (0.2, "1 s"),
        (1.0, "1 s"),
        (59.1, "60 s"),
        (60.0, "1 min"),
        (61.0, "2 min"),
        (7_201.0, "3 h"),
    ],
)
def test_seconds_are_rounded_up(seconds: float | None, span: str) -> None:
    """In one unit; the text of a change tells them from a second on."""
    change = changed(seconds)
    assert change.span == span
    told = f", up to {span}" if seconds is not None and seconds >= 1 else ""
    assert str(change).endswith(f"(additive; 2,000 rows{told})")


async def test_a_plan_tells_what_a_store_says(tmp_path: Path) -> None:
    """More rows take longer, what is only noted nothing; a store that does not say is no nothing."""

    class Patient(Entity, collection="patients"):
        name: Annotated[str, MaxLength(40)]

    class NewPatient(Entity, collection="patients", indexes=[Index("name")]):
        name: Annotated[str, MaxLength(40)]
        ward: str | None = None

    seconds: list[list[float | None]] = []
    for url in (f"sqlite:///{tmp_path}/store.db", "memory://"):
        async with DatabaseManager(url) as db:
            await db.initialize(Patient)
            patients = db.repository(Patient)
            for _ in range(2):
                await patients.add_many([Patient(name="Ann") for _ in range(10)])
                plan = await db.schema.plan(NewPatient)
                seconds.append([each.seconds for each in plan.operations])
    few, many, *others = seconds
    assert few[0] == many[0] == 0
    assert few[1] is not None
    assert many[1] == pytest.approx(2 * few[1])
    assert others == [[None, None], [None, None]]
