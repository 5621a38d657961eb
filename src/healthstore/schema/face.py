"""What a program calls as ``db.schema``: it turns entities into definitions, and delegates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from healthstore.abc.backend import Backend
from healthstore.entity import Entity, collection_of
from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.schema import Collection
from healthstore.schema.evolve import DEADLINE, evolve
from healthstore.schema.plan import Plan, plan

__all__ = ("Schema",)


class Schema:
    """Compares the definitions of a manager's members with those of entities, and changes them."""

    def __init__(
        self,
        member: Callable[[str | None], Awaitable[Backend]],
        members: Callable[[], Iterable[str]],
    ) -> None:
        self._member = member
        self._members = members

    async def plan(self, *entities: type[Entity], member: str | None = None) -> Plan:
        """Return what makes a member's collections into those of the entities; changes nothing.

        ``member`` is the active one by default. What the store holds beside these entities is
        left alone. Raises InvalidRequestError if no entity is named, or two have one collection.
        """
        wanted = _wanted(entities, "db.schema.plan(User, Weight)")
        return await plan(await self._member(member), wanted)

    async def evolve(
        self,
        *entities: type[Entity],
        dry_run: bool = False,
        members: str | Iterable[str] | None = None,
        deadline: float = DEADLINE,
    ) -> Plan:
        """Make a member's collections into those of the entities; return the plan that was applied.

        Only additive changes are applied, which no document stands against: SchemaChangeError
        names others, before anything is changed. ``members`` is the active one by default, a
        name, several, or ``"all"``. Documents that are there get the default of a new field, or
        None. Programs of the old definition go on until they look at the store again, and are
        refused then. What was cut short is completed by calling it again. The alteration of one
        collection may take ``deadline`` seconds. With ``dry_run`` nothing is changed.
        """
        wanted = _wanted(entities, "db.schema.evolve(User, Weight)")
        if isinstance(deadline, bool) or not deadline > 0:
            raise InvalidRequestError(
                "the deadline of a change must be positive", hint="give seconds, such as 3600.0"
            )
        stores = [await self._member(each) for each in self._named(members)]
        return await evolve(stores, wanted, dry_run=dry_run, deadline=deadline)

    def _named(self, members: str | Iterable[str] | None) -> tuple[str | None, ...]:
        if members is None:
            return (None,)
        if isinstance(members, str):
            return tuple(self._members()) if members == "all" else (members,)
        names = tuple(dict.fromkeys(listed(members, "members", 'members=["primary"]')))
        if not names:
            raise InvalidRequestError("no member is named", hint='members="all" names every one')
        return names


def _wanted(entities: Iterable[type[Entity]], example: str) -> list[Collection]:
    wanted = [collection_of(each) for each in entities]
    if not wanted:
        raise InvalidRequestError("no entity is named", hint=example)
    return wanted
