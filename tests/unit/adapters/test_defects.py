"""A mistake in healthstore looks like one: it says so, says where, and asks to be reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from healthstore.abc.causes import is_defect
from healthstore.adapters.memory import MemoryAdapter
from healthstore.adapters.sql.sqlite import SqliteAdapter
from healthstore.errors import BackendError, Condition, Outcome
from healthstore.model import evaluate
from healthstore.model.ops import CountDocuments, Ensure, Find, Insert, Op
from healthstore.testing.contract._samples import PEOPLE, person

MISTAKES: dict[str, Callable[[], object]] = {
    "attribute": lambda: evaluate.check_document(None, person()),  # type: ignore[arg-type]  # the mistake
    "key": lambda: evaluate.check_document(PEOPLE, {}),
    "in Python's own code": lambda: evaluate.sort_documents([person()], PEOPLE),  # type: ignore[arg-type]  # the mistake
}


def raised(call: Callable[[], object]) -> Exception:
    """Return what a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError


@pytest.mark.parametrize("call", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_ours_is_recognised(call: Callable[[], object]) -> None:
    """By its kind, and by whose call was the last one."""
    error = raised(call)
    assert is_defect(error)


def test_a_value_that_cannot_be_read_is_no_mistake_of_ours() -> None:
    """Nor is an error of somebody else's code."""
    assert not is_defect(raised(lambda: date.fromisoformat("x")))
    assert not is_defect(raised(lambda: {}["x"]))
    assert not is_defect(KeyError("never raised"))


ASKED: tuple[tuple[Op[object], Outcome], ...] = (
    # As no guard lets them through.
    (Insert(PEOPLE, ({},)), Outcome.UNKNOWN),
    (Find(PEOPLE, None), Outcome.NOT_APPLIED),  # type: ignore[arg-type]  # the mistake
    (CountDocuments(PEOPLE, 5), Outcome.NOT_APPLIED),  # type: ignore[arg-type]  # the mistake
)


@pytest.mark.parametrize("name", ["memory", "sqlite"])
async def test_a_defect_says_where_it_is_and_what_to_do(name: str, tmp_path: Path) -> None:
    """It tells nothing about the member, so that nothing fails over; a write is in doubt."""
    backend = MemoryAdapter() if name == "memory" else SqliteAdapter(name, tmp_path / "a.db")
    await backend.open()
    await backend.execute(Ensure((PEOPLE,)))
    for op, outcome in ASKED:
        with pytest.raises(BackendError) as caught:
            await backend.execute(op)
        error = caught.value
        assert error.message.startswith("a defect of healthstore: ")
        assert ".py:" in error.message
        assert "report" in error.hint
        assert error.outcome is outcome
        assert error.condition is Condition.OK
        assert error.backend == name
    await backend.close()
