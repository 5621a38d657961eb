"""Pages: some results in order, and where those before and behind them are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Generic, TypeVar, overload
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import Entity
from healthstore.errors import InvalidRequestError
from healthstore.model.collector import collector_paused
from healthstore.model.ops import Find, Found, Origin
from healthstore.model.query import And, Filter, Not
from healthstore.model.query import after as behind
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.repository.children import Children
from healthstore.repository.cursors import Position, Query, read_position, write_position
from healthstore.repository.related import Related

__all__ = ("MAX_ALL", "MAX_PAGE", "Page", "read_all", "read_page", "too_many")

MAX_PAGE = 10_000
"""The most results of one page."""
MAX_ALL = 100_000
"""The most results that are returned at once where no limit is given."""

E = TypeVar("E", bound=Entity)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some results in order, which it yields; and the positions of its neighbours.

    ``next`` is where the next page begins (None: this was the last), ``previous`` where the one
    before ends (None: this is the first): pass either as ``after``. ``source`` is the name of the
    member that returned them: another one than the manager's ``active`` stood in for it, and may
    be behind.
    """

    items: tuple[T, ...]
    next: str | None
    source: str
    previous: str | None = None
    included: Related = field(default_factory=Related, repr=False)
    """The entities that were read with them; see :meth:`related`."""

    @overload
    def related(self, entity: type[E]) -> Mapping[UUID, E]: ...

    @overload
    def related(self, entity: type[E], name: str) -> Mapping[UUID, Any]: ...

    @overload
    def related(self, entity: Children[E]) -> Mapping[UUID, list[E]]: ...

    def related(self, entity: type[E] | Children[E], name: str | None = None) -> Mapping[UUID, Any]:
        """Return what was read with the results by ``include``, for one relation.

        That is the entities of a class to which they refer, by id; or of ``Children`` a list for
        the id of each result, in order. ``name`` is the field that refers; it may be left out where
        there is one relation of that class. A type checker knows of a name only at run time what
        it finds: given the value of ``Children`` itself, it knows the lists. Raises
        InvalidRequestError for what was not included.
        """
        if isinstance(entity, Children):
            return self.included.of(entity.entity, entity.field)
        return self.included.of(entity, name)

    def __iter__(self) -> Iterator[T]:
        """Yield the results in order."""
        return iter(self.items)

    def __len__(self) -> int:
        """Return how many results it holds."""
        return len(self.items)


async def read_page(  # noqa: PLR0913 - each has a name where it is called
    executor: Executor,
    query: Query,
    limit: int,
    read: Callable[[Document], T],
    *,
    token: str | None,
    stale: bool,
) -> Page[T]:
    """Return the page at a position, or the first one; ``read`` makes a result of a document.

    With ``stale`` it may come from another member than the page before.
    """
    at = None if token is None else read_position(query, token)
    backwards = at is not None and at.backwards
    orders = tuple(each.reversed() for each in query.orders) if backwards else query.orders
    where: Filter = query.where
    position = None if at is None else at.keys
    if at is not None and at.including:
        # Not beyond it the other way: at it, or behind it.
        opposite = tuple(each.reversed() for each in orders)
        where, position = And((where, Not(behind(opposite, at.keys)))), None
    origin = None if at is None or stale else at.origin
    op = Find(query.collection, where, orders, limit + 1, position, origin, query.columns)
    found = await executor.execute(op)
    here = found.origin if isinstance(found, Found) else Origin(executor.name)
    more, rows = len(found) > limit, found[:limit]
    first, last = _ends(query, rows[::-1] if backwards else rows, at, here)
    # What lies the way one came from is there, or was.
    following = last if more or backwards else None
    before = first if (more if backwards else at is not None) else None
    with collector_paused():
        items = tuple(map(read, rows[::-1] if backwards else rows))
    return Page(
        items,
        None if following is None else write_position(query, following),
        here.member,
        None if before is None else write_position(query, before),
    )


async def read_all(  # noqa: PLR0913 - each has a name where it is called
    executor: Executor,
    query: Query,
    read: Callable[[Document], T],
    *,
    token: str | None = None,
    stale: bool = False,
    size: int = MAX_PAGE,
    most: int = MAX_ALL,
) -> Page[T]:
    """Return all that lies behind a position, or before it, as one page, read ``size`` at a time.

    Raises InvalidRequestError when it is more than ``most``.
    """
    backwards = token is not None and read_position(query, token).backwards
    pages: list[Page[T]] = []
    left = most
    while True:
        limit = min(size, left)
        page = await read_page(executor, query, limit, read, token=token, stale=stale)
        pages.append(page)
        left -= len(page)
        token = page.previous if backwards else page.next
        if token is None:
            break
        if not left:
            raise too_many(query.collection, most)
    ordered = pages[::-1] if backwards else pages
    items = tuple(chain.from_iterable(each.items for each in ordered))
    return Page(items, ordered[-1].next, page.source, ordered[0].previous)


def too_many(collection: Collection, most: int) -> InvalidRequestError:
    """Return the error for more results than are returned at once."""
    return InvalidRequestError(
        f"more than {most} entities satisfy the filters",
        hint="use stream(), which reads any number, or pages with a limit",
        entity=collection.entity,
    )


def _ends(
    query: Query, rows: tuple[Document, ...], at: Position | None, here: Origin
) -> tuple[Position | None, Position | None]:
    """Return the positions before and behind a page; those of an empty one hold the place itself."""
    if rows:
        return (
            Position.of(query, rows[0], here, backwards=True),
            Position.of(query, rows[-1], here),
        )
    if at is None:
        return None, None
    return (
        Position(at.keys, here, backwards=True, including=not at.including),
        Position(at.keys, here, including=not at.including),
    )
