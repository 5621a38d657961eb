"""Pages and members: a sequence of pages never mixes what two members hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from healthstore.errors import Condition, UnavailableError
from healthstore.model.ops import ExplainFind, Find, Found, Op, Origin
from healthstore.model.values import Document

__all__ = ("came_from", "elsewhere", "placed")

R = TypeVar("R")


def came_from(op: Op[Any]) -> Origin | None:
    """Return where the page before came from, if the operation goes on from one."""
    asked = op.find if isinstance(op, ExplainFind) else op
    return asked.origin if isinstance(asked, Find) else None


def placed(op: Op[R], result: R, origin: Callable[[], Origin]) -> R:
    """Return the result of an operation; that of a Find says where it comes from."""
    if isinstance(op, Find):
        documents = cast(tuple[Document, ...], result)
        return cast(R, Found.at(documents, origin()))
    return result


def elsewhere(origin: Origin, reads: str) -> UnavailableError:
    """Return the error for a page whose sequence cannot go on where it began."""
    error = UnavailableError(
        f"the page before came from {origin.member}, the next one would come from {reads}: "
        "they may not belong together",
        hint=f"begin again at the first page, or repeat this one when {origin.member} serves "
        f"again; stale=True reads on at {reads}",
        backend=origin.member,
    )
    error.condition = Condition.OK  # it tells nothing new about the member
    return error
