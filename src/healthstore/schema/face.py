"""What a program calls as ``db.schema``: it turns entities into definitions, and delegates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from healthstore.abc.backend import Backend
from healthstore.entity import Entity, collection_of
from healthstore.errors import InvalidRequestError
from healthstore.schema.plan import Plan, plan

__all__ = ("Schema",)


class Schema:
    """Compares the definitions of a manager's members with those of entities."""

    def __init__(self, member: Callable[[str | None], Awaitable[Backend]]) -> None:
        self._member = member

    async def plan(self, *entities: type[Entity], member: str | None = None) -> Plan:
        """Return what makes a member's collections into those of the entities; changes nothing.

        ``member`` is the active one by default. What the store holds beside these entities is
        left alone. Raises InvalidRequestError if no entity is named, or two have one collection.
        """
        if not entities:
            raise InvalidRequestError("no entity is named", hint="db.schema.plan(User, Weight)")
        wanted = [collection_of(each) for each in entities]
        return await plan(await self._member(member), wanted)
