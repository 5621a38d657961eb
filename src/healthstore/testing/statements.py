"""Counting what a block of code sends to the members: the guard against N+1 reads."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from healthstore.errors import ConfigurationError
from healthstore.events import OperationFinished
from healthstore.manager import DatabaseManager

__all__ = ("assert_statements",)


@contextmanager
def assert_statements(
    db: DatabaseManager, exactly: int | None = None, *, at_most: int | None = None
) -> Generator[list[OperationFinished], None, None]:
    """Fail unless a block sends ``exactly`` so many operations to the members, or ``at_most``.

    Each attempt counts, inside transactions too; beginning and ending a transaction do not. The
    block gets the list of what was sent, which grows as it runs. An AssertionError names every
    operation with its collection, never a value. An error that the block raises comes first.
    """
    if (exactly is None) == (at_most is None):
        raise ConfigurationError(
            "assert_statements needs one number",
            hint="assert_statements(db, 2), or assert_statements(db, at_most=2)",
        )
    sent: list[OperationFinished] = []
    listening = True

    def note(event: OperationFinished) -> None:
        if listening:  # a bus forgets no handler
            sent.append(event)

    db.on(OperationFinished, note)
    try:
        yield sent
    finally:
        listening = False
    wrong = len(sent) != exactly if exactly is not None else len(sent) > (at_most or 0)
    if wrong:
        wanted = exactly if exactly is not None else f"at most {at_most}"
        listed = "".join(f"\n  {number}. {_line(each)}" for number, each in enumerate(sent, 1))
        raise AssertionError(f"{len(sent)} operations were sent, not {wanted}:{listed or ' none'}")


def _line(event: OperationFinished) -> str:
    what = " ".join(part for part in (event.operation, event.collection) if part)
    failed = f", failed with {event.error}" if event.error else ""
    return f"{what} (on {event.backend}{failed})"
