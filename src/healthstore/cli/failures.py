"""From any exception to what the user is told: never a traceback, a value or a secret."""

from __future__ import annotations

from dataclasses import dataclass
from errno import EACCES, EISDIR, ENOENT, ENOTDIR
from os import strerror
from traceback import walk_tb

from healthstore.cli.exits import EXITS, Exit
from healthstore.errors import HealthstoreError

__all__ = ("CommandError", "Failure", "failure_of")

# Errors of the file system that mean: the command was given the wrong path.
_WRONG_PATH = frozenset({EACCES, EISDIR, ENOENT, ENOTDIR})


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, where, what to do, under which stable code, and how the command ends."""

    message: str
    where: str = ""
    hint: str = ""
    code: str = "usage"
    exit: Exit = Exit.USAGE


class CommandError(Exception):
    """A command cannot be run as it was given."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """Return what to tell about an exception."""
    if isinstance(error, CommandError):
        return error.failure
    if isinstance(error, HealthstoreError):
        exit_code = EXITS.get(error.code, Exit.FAILURE)
        return Failure(error.message, error.where, error.hint, error.code, exit_code)
    if isinstance(error, BaseExceptionGroup):  # of tasks that failed together: the first decides
        return failure_of(error.exceptions[0])
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", hint=_notes(error), code="interrupted", exit=Exit.INTERRUPTED)
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        exit_code = Exit.USAGE if error.errno in _WRONG_PATH else Exit.FAILURE
        reason = strerror(error.errno)
        return Failure(reason, str(error.filename), "check the path", "file", exit_code)
    return Failure(
        f"unexpected {type(error).__name__}",
        where=_place(error),
        hint="this is a defect of healthstore: please report these lines",
        code="internal",
        exit=Exit.FAILURE,
    )


def _notes(error: BaseException) -> str:
    """Return what was noted on the way of an interruption: it comes as a cancellation at first."""
    notes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        notes += getattr(cause, "__notes__", ())
        cause = cause.__context__
    return "; ".join(notes)


def _place(error: BaseException) -> str:
    """Return the line of ours in which an exception came up; its text may hold a value."""
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        name = frame.f_globals.get("__name__", "")
        if str(name).startswith("healthstore"):
            place = f"{name}:{line}"
    return place
