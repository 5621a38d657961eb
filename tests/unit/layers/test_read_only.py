"""Read-only members: nothing that writes gets through, and reading is as before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args
from uuid import uuid4

import pytest

from healthstore.abc import UnitOptions
from healthstore.errors import Condition, Outcome, ReadOnlyError
from healthstore.layers.read_only import ReadOnlyLayer
from healthstore.layers.retry import RetryLayer
from healthstore.model.ops import (
    Alter,
    Batch,
    Claim,
    CountDocuments,
    Delete,
    DeleteWhere,
    Drop,
    Effect,
    Ensure,
    Find,
    Get,
    Insert,
    Op,
    Operation,
    Patch,
    Patches,
    PatchWhere,
    Rename,
    Replace,
)
from healthstore.model.query import F
from healthstore.testing.contract._samples import PEOPLE, person

if TYPE_CHECKING:
    from .conftest import RecordingLayer

WRITES: tuple[Operation, ...] = (
    Ensure((PEOPLE,)),
    Alter(PEOPLE, replace(PEOPLE, indexes=())),
    Rename(PEOPLE, replace(PEOPLE, name="people_now")),
    Drop(PEOPLE),
    Insert(PEOPLE, (person(1),)),
    Replace(PEOPLE, (person(1),)),
    Patch(PEOPLE, (uuid4(),), (("name", "x"),)),
    Patches(PEOPLE, (Patch(PEOPLE, (uuid4(),), (("name", "x"),)),)),
    PatchWhere(PEOPLE, F.age > 1, (("name", "x"),)),
    Claim(PEOPLE, (("name", "x"),)),
    Delete(PEOPLE, (uuid4(),)),
    DeleteWhere(PEOPLE, F.age > 1),
    Batch((CountDocuments(PEOPLE),)),
)


def test_every_operation_that_is_no_read_is_tried() -> None:
    """The list of writes in this file is complete."""
    writing = {kind for kind in get_args(Operation) if kind.effect is not Effect.READ}
    assert {type(op) for op in WRITES} == writing


@pytest.mark.parametrize("op", WRITES, ids=lambda op: type(op).__name__.lower())
async def test_what_is_no_read_is_refused(recording: RecordingLayer, op: Op[Any]) -> None:
    """Nothing reaches the member; the error names it, says why, and does not blame it."""
    with pytest.raises(ReadOnlyError) as refused:
        await ReadOnlyLayer(recording).execute(op)
    assert recording.seen == []
    error = refused.value
    assert (error.backend, error.outcome) == ("m", Outcome.NOT_APPLIED)
    assert error.condition is Condition.OK
    assert "configured read-only" in error.message
    assert "read_only = false" in error.hint


async def test_reads_pass(recording: RecordingLayer) -> None:
    """A read is passed on as it is."""
    document = person(1)
    await recording.execute(Insert(PEOPLE, (document,)))
    layer = ReadOnlyLayer(recording)
    assert await layer.execute(Get(PEOPLE, (document["id"],))) == (document,)  # type: ignore[arg-type]  # an id
    assert await layer.execute(Find(PEOPLE)) == (document,)
    assert await layer.execute(CountDocuments(PEOPLE)) == 1


async def test_a_unit_that_may_write_does_not_begin(recording: RecordingLayer) -> None:
    """The refusal comes before the unit, not with its first write; also by default."""
    layer = ReadOnlyLayer(recording)
    for options in (UnitOptions(), UnitOptions(read_only=False)):
        with pytest.raises(ReadOnlyError) as refused:
            await layer.begin(options)
        assert refused.value.backend == "m"
        assert "read_only=True" in refused.value.hint


async def test_a_read_only_unit_reads_and_does_not_write(recording: RecordingLayer) -> None:
    """Inside a unit the layer refuses as it does outside, before the member is asked."""
    unit = await ReadOnlyLayer(recording).begin(UnitOptions(read_only=True))
    assert await unit.execute(CountDocuments(PEOPLE)) == 0
    recording.seen.clear()
    with pytest.raises(ReadOnlyError, match="configured read-only"):
        await unit.execute(Insert(PEOPLE, (person(1),)))
    assert recording.seen == []
    await unit.rollback()


def test_a_refusal_is_not_retried() -> None:
    """The layer lies over the retries: a refusal by configuration costs no second attempt."""
    assert ReadOnlyLayer.rank < RetryLayer.rank
