"""The smallest program that still shows a difference."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, cast

from healthstore.errors import HealthstoreError
from healthstore.testing.differential.compare import Difference
from healthstore.testing.differential.programs import Program, from_json, to_json

__all__ = ("shrink",)

Run = Callable[[Program], Awaitable[Difference | None]]


async def shrink(
    program: Program, difference: Difference, run: Run, *, attempts: int
) -> tuple[Program, Difference]:
    """Return a smaller program with the same kind of difference, after so many attempts at most.

    Steps go first, half of them at a time; then whatever a list of the program holds, then parts
    of values.
    """
    search = _Search(program, difference, run, attempts)
    await search.try_program(
        replace(program, steps=program.steps[: difference.step + 1]),
    )
    await search.cut_steps()
    await search.cut_parts()
    return search.program, search.difference


class _Search:
    def __init__(self, program: Program, difference: Difference, run: Run, attempts: int) -> None:
        self.program = program
        self.difference = difference
        self._run = run
        self._left = attempts

    async def try_program(self, program: Program) -> bool:
        """Take a program if it still shows the difference."""
        if self._left <= 0 or program == self.program:
            return False
        self._left -= 1
        try:
            found = await self._run(program)
        except Exception:  # noqa: BLE001 - a store's errors are answers: what is left is no program
            return False
        if found is None or found.signature != self.difference.signature:
            return False
        self.program, self.difference = program, found
        return True

    async def cut_steps(self) -> None:
        """Leave out steps, first many at a time."""
        size = max(1, len(self.program.steps) // 2)
        while size:
            start = 0
            while start < len(self.program.steps):
                steps = self.program.steps
                shorter = (*steps[:start], *steps[start + size :])
                if not await self.try_program(replace(self.program, steps=shorter)):
                    start += size
            size //= 2

    async def cut_parts(self) -> None:
        """Leave out parts of what is left, until nothing more can go."""
        changed = True
        while changed and self._left > 0:
            changed = False
            skipped = 0
            while self._left > 0:
                candidates = list(_smaller(to_json(self.program)))
                if skipped >= len(candidates):
                    break
                try:
                    candidate = cast(Program, from_json(candidates[skipped]))
                except HealthstoreError:
                    skipped += 1
                    continue
                if await self.try_program(candidate):
                    changed = True
                else:
                    skipped += 1


# Parts that say what something is: half of such a word says nothing.
_WORDS = frozenset({"$", "name", "schema", "form", "refers", "on_delete", "field", "by", "kind"})


def _smaller(written: Any) -> Iterator[Any]:
    """Yield copies of a program's JSON, each without one part."""
    if isinstance(written, list):
        yield from _smaller_list(written)
    elif isinstance(written, dict):
        parts = cast("dict[str, Any]", written)
        for name, part in parts.items():
            if name not in _WORDS:
                yield from ({**parts, name: smaller} for smaller in _smaller(part))
    elif isinstance(written, str) and len(written) > 1:
        yield from (written[: len(written) // 2], written[1:])
    elif type(written) is int and written not in {0, 1}:
        yield 0


def _smaller_list(items: list[Any]) -> Iterator[Any]:
    for at in range(len(items)):
        yield [*items[:at], *items[at + 1 :]]
    for at, item in enumerate(items):
        yield from ([*items[:at], smaller, *items[at + 1 :]] for smaller in _smaller(item))
