"""What a repository reads: an entity's documents, found, counted, grouped and explained."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar, cast, overload
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.entity import (
    Entity,
    collection_of,
    own_keys,
    own_order,
    reader_of,
    stored_filter,
)
from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import ordered
from healthstore.model.measures import GroupKey
from healthstore.model.ops import (
    CountDocuments,
    ExplainFind,
    Find,
    Get,
    Measure,
    RefreshStatistics,
)
from healthstore.model.plans import QueryPlan
from healthstore.model.query import (
    ALL,
    And,
    Condition,
    Filter,
    Order,
    SortKey,
)
from healthstore.model.values import Value
from healthstore.repository.aggregates import asked_aggregate, require_unsorted
from healthstore.repository.cursors import Query
from healthstore.repository.group_pages import stream_groups
from healthstore.repository.latest import latest_of, require_few
from healthstore.repository.pages import MAX_PAGE, Page, read_all, read_page
from healthstore.repository.related import Include, read_related, relations
from healthstore.repository.searches import search, terms_of
from healthstore.repository.selections import select, selection
from healthstore.repository.subqueries import Subquery, require_same_source

__all__ = ("Reading",)

M = TypeVar("M", bound=Entity)
R = TypeVar("R")


class Reading(Generic[M]):
    """The verbs of a repository that only read; see :class:`~healthstore.repository.Repository`."""

    def __init__(
        self,
        entity: type[M],
        executor: Executor,
        *,
        cursor_key: bytes | None = None,
        source: object = None,
    ) -> None:
        self._entity = entity
        self._cursor_key = cursor_key
        self._executor = executor
        self._source = executor if source is None else source
        self.collection = collection_of(entity)
        self._entity_of = reader_of(entity)

    async def get(self, identity: UUID, *, lock: bool = False) -> M | None:
        """Return the entity with this id, or None.

        With ``lock``, in a transaction, nobody else changes or deletes it before the end of that;
        one that was changed since the transaction began to read raises SerializationError. Raises
        InvalidRequestError outside of a transaction, ReadOnlyError in one that only reads.
        """
        (found,) = await self._executor.execute(Get(self.collection, (identity,), lock))
        return None if found is None else self._entity_of(found)

    async def get_many(self, ids: Sequence[UUID], *, lock: bool = False) -> list[M | None]:
        """Return the entities with these ids, in this order; None where there is none.

        ``lock`` as in :meth:`get`, of all of them.
        """
        wanted = ordered(ids, "ids", "get_many([first, second])")
        found = await self._executor.execute(Get(self.collection, wanted, lock))
        return [None if document is None else self._entity_of(document) for document in found]

    async def find(
        self,
        *filters: Condition,
        order: Iterable[SortKey] = (),
        limit: int | None = 100,
        after: str | None = None,
        include: Include = (),
        stale: bool = False,
    ) -> Page[M]:
        """Return at most ``limit`` entities that satisfy all filters.

        ``order`` names fields, ``-name`` for descending, or has keys of ``asc()`` and ``desc()``,
        or parts of JSON, ``F.data["weight"].as_(float)``;
        the id decides among equals. To read on, pass the page's ``next`` as ``after``, or its
        ``previous`` to go back, with the same filters and order: pages neither repeat nor skip a
        document, whatever is added or deleted meanwhile. A position of another query is refused.
        Other values in the same filters are not, so that they may move with the clock: the
        position is a place in the order, and the next page is what satisfies them behind.

        ``limit`` is at most 10,000. Without one (None) all are returned, read in pages, up to
        100,000; InvalidRequestError says that there are more, and :meth:`stream` reads them.

        ``include`` names references whose entities are read, too: ``page.related(User)`` has them
        by id; and ``Children(Comment, "post_id")`` those that refer to each result:
        ``page.related(Comment)`` has a list for its id. That is one more request for each class or
        relation; outside of a transaction others may have written in between. Where a Ref names
        a collection only, the class is given: ``{"user_id": User}``.

        A page comes from the member that the page before came from, or UnavailableError is
        raised: then begin again. With ``stale`` it may come from another one, which may lag.
        """
        followed = relations(self._entity, include)
        if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_PAGE):
            raise InvalidRequestError(
                f"the limit must be from 1 to {MAX_PAGE}, or None",
                hint="use stream() for everything",
                entity=self.collection.entity,
            )
        query = Query(self.collection, self._where(filters), self._order(order), self._cursor_key)
        read, source = self._entity_of, self._executor
        if limit is None:
            page = await read_all(source, query, read, token=after, stale=stale)
        else:
            page = await read_page(source, query, limit, read, token=after, stale=stale)
        if followed:
            found = await read_related(self._executor, page, followed)
            page = replace(page, included=found)
        return page

    async def search(
        self,
        text: str,
        *filters: Condition,
        order: Iterable[SortKey] = (),
        limit: int = 20,
        after: str | None = None,
        stale: bool = False,
    ) -> Page[M]:
        """Return the entities that have a word of the text, those with most of its words first.

        The class says in which texts: ``indexes=[Search("name", "description")]``. Words are runs of
        letters, digits and ``_`` where case does not count, each is found as a whole, and counted
        once, wherever it is. At most 8 are looked for. Of those that have equally many, ``order``
        decides, at last the id.

        A page has its ``next``, for the same text, filters and order, and no ``previous``. It takes
        a request for each number of words down to where it is full: outside of a unit others may
        write in between.
        """
        terms = terms_of(self.collection, text)
        query = Query(self.collection, self._where(filters), self._order(order), self._cursor_key)
        read, source = self._entity_of, self._executor
        return await search(source, query, terms, limit, read, token=after, stale=stale)

    def query(self, *filters: Condition) -> Subquery[M]:
        """Return the entities that satisfy all filters, to look something up in; nothing is read.

        ``links.query(F.doctor_id == me).field("user_id")`` are values for ``in_()`` and
        ``not_in()`` in the filters of other repositories of the same manager.
        """
        return Subquery(self._entity, self._where(filters), self._source)

    @overload
    async def select(
        self,
        *columns: object,
        where: Condition = ALL,
        order: Iterable[SortKey] = (),
        limit: int | None = 100,
        distinct: bool = False,
        into: None = None,
        **named: object,
    ) -> list[dict[str, object]]: ...

    @overload
    async def select(
        self,
        *columns: object,
        where: Condition = ALL,
        order: Iterable[SortKey] = (),
        limit: int | None = 100,
        distinct: bool = False,
        into: type[R],
        **named: object,
    ) -> list[R]: ...

    async def select(
        self,
        *columns: object,
        where: Condition = ALL,
        order: Iterable[SortKey] = (),
        limit: int | None = 100,
        distinct: bool = False,
        into: type[R] | None = None,
        **named: object,
    ) -> list[R] | list[dict[str, object]]:
        """Return some columns of the entities that satisfy a filter; only these are read.

        A column is the name of a field, ``F.name`` or ``User.name``; ``named`` ones are called
        otherwise in the rows: ``kilos="weight"``. Values are those of the entity's attributes. A
        part of JSON is a column, too: ``F.data["unit"]``, whatever is there, or as a value of a
        type ``F.data["weight"].as_(float)``; it is called ``data.unit`` unless it is named, and
        what is missing is None. A row is a dict, or an ``into``: the class of a pydantic model, a dataclass or a NamedTuple.
        ``order`` and ``limit`` are as in :meth:`find`.

        With ``distinct`` equal rows are one. They are sorted by selected columns only, and by
        each of these at last; JSON, bytes and floats are refused, but not texts, whole numbers and
        bools of JSON, as ``F.data["unit"].as_(str)``.
        """
        chosen = selection(self._entity, columns, named, into)
        orders = own_keys(self._entity, order) if distinct else self._order(order)
        query = Query(self.collection, self._where((where,)), orders)
        rows = await select(self._executor, query, chosen, limit=limit, distinct=distinct)
        return cast("list[R] | list[dict[str, object]]", rows)

    async def first(self, *filters: Condition, order: Iterable[SortKey] = ()) -> M | None:
        """Return the first entity in this order that satisfies all filters, or None."""
        return await self._first(filters, self._order(order))

    async def last(self, *filters: Condition, order: Iterable[SortKey] = ()) -> M | None:
        """Return the last entity in this order that satisfies all filters, or None."""
        return await self._first(filters, tuple(each.reversed() for each in self._order(order)))

    async def _first(self, filters: tuple[Condition, ...], orders: tuple[Order, ...]) -> M | None:
        found = await self._executor.execute(
            Find(self.collection, self._where(filters), orders, limit=1)
        )
        return self._entity_of(found[0]) if found else None

    async def latest(
        self, *filters: Condition, per: Iterable[object], by: object, n: int = 1
    ) -> list[M]:
        """Return the last ``n`` entities of each group as ``by`` has them, the newest first.

        For example ``latest(per=["user_id", "type"], by="recorded_at")``. A group has the same
        values in the fields ``per``, in whose order the groups come; None is one. Of equal ``by``
        the greatest id is the last, and None is older than all others. It is one request. At most
        10,000 entities are returned; InvalidRequestError says that there are more.
        """
        op = latest_of(self._entity, self._where(filters), per, by, n)
        found = await self._executor.execute(op)
        require_few(op, found)
        return [self._entity_of(each) for each in found]

    async def exists(self, *filters: Condition) -> bool:
        """Return whether any entity satisfies all filters."""
        found = await self._executor.execute(Find(self.collection, self._where(filters), limit=1))
        return bool(found)

    async def count(self, *filters: Condition) -> int:
        """Return the exact number of entities that satisfy all filters."""
        return await self._executor.execute(CountDocuments(self.collection, self._where(filters)))

    async def explain(
        self,
        *filters: Condition,
        order: Iterable[SortKey] = (),
        limit: int | None = 100,
        refresh: bool = False,
    ) -> QueryPlan:
        """Return how the store would answer ``find`` with these filters, order and limit.

        Nothing is read of the entities. ``refresh`` renews the planner's statistics of the
        collection first, which is a write, and not done inside a transaction. Nothing of the plan
        holds a value.
        """
        if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_PAGE):
            raise InvalidRequestError(
                f"the limit must be from 1 to {MAX_PAGE}, or None",
                hint="give the limit that find() has; without one it reads pages of the most",
                entity=self.collection.entity,
            )
        # A page looks one further.
        most = MAX_PAGE if limit is None else limit
        op = Find(self.collection, self._where(filters), self._order(order), most + 1)
        if refresh:
            await self._executor.execute(RefreshStatistics(self.collection))
        return await self._executor.execute(ExplainFind(op))

    async def stream(
        self,
        *filters: Condition,
        order: Iterable[SortKey] = (),
        limit: int | None = None,
        page_size: int = 1_000,
        stale: bool = False,
    ) -> AsyncIterator[M]:
        """Yield every entity that satisfies all filters, or at most ``limit``, page by page.

        All of them come from one member, or UnavailableError ends the stream: then begin again.
        With ``stale`` it goes on at another one, which may lag.
        """
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InvalidRequestError(
                "the limit must be 1 or more, or None",
                hint="leave it out for everything",
                entity=self.collection.entity,
            )
        if type(page_size) is not int or not 1 <= page_size <= MAX_PAGE:
            raise InvalidRequestError(
                f"the page size must be from 1 to {MAX_PAGE}",
                hint="leave it out",
                entity=self.collection.entity,
            )
        keys = ordered(order, "the order", 'order=["name", "-recorded_at"]')
        left, after = limit, None
        while True:
            size = page_size if left is None else min(page_size, left)
            page = await self.find(*filters, order=keys, limit=size, after=after, stale=stale)
            after = page.next
            left = None if left is None else left - len(page)
            for entity in page.items:
                yield entity
            if after is None or left == 0:
                return
            del page  # or two of them would be in memory

    @overload
    async def aggregate(
        self,
        *filters: Condition,
        group: Sequence[GroupKey] = (),
        unwind: object = "",
        having: Condition = ALL,
        order: Iterable[SortKey] = (),
        limit: int | None = None,
        into: None = None,
        **measures: Measure,
    ) -> list[dict[str, Value]]: ...

    @overload
    async def aggregate(
        self,
        *filters: Condition,
        group: Sequence[GroupKey] = (),
        unwind: object = "",
        having: Condition = ALL,
        order: Iterable[SortKey] = (),
        limit: int | None = None,
        into: type[R],
        **measures: Measure,
    ) -> list[R]: ...

    async def aggregate(  # noqa: PLR0913 - each has a name where it is called
        self,
        *filters: Condition,
        group: Sequence[GroupKey] = (),
        unwind: object = "",
        having: Condition = ALL,
        order: Iterable[SortKey] = (),
        limit: int | None = None,
        into: type[R] | None = None,
        **measures: Measure,
    ) -> list[R] | list[dict[str, Value]]:
        """Return one row for each group, ordered by its key: the group's columns and the measures.

        For example ``aggregate(F.type == "weight", group=["user_id"], mean=Avg("value"))``. A key
        of the group is a field or a :class:`Bucket`, whose column has the field's name unless the
        bucket has one.

        With ``unwind="triggers"`` there is a row for each element of that list, an element twice
        counts twice, and none for an empty list or None: ``triggers`` is the element then, as a
        key of the group and in measures. The filters are of the entities.

        ``having=F.n > 5`` is a filter of the rows, ``order=["-n"]`` sorts them, at last by the key
        of the group: the names are those of a row. At most ``limit`` rows are returned. A row is a
        dict, or an ``into``: the class of a pydantic model, a dataclass or a NamedTuple. At most
        10,000 rows are returned, and so many at most are filtered and sorted by what the database
        does not sort exactly, such as means; InvalidRequestError says that there are more.
        """
        asked = asked_aggregate(
            self._entity,
            self._where(filters),
            group,
            measures,
            having=cast(Filter, having),
            order=order,
            limit=limit,
            into=into,
            unwind=unwind,
        )
        rows = asked.rows(await self._executor.execute(asked.op))
        return cast("list[R] | list[dict[str, Value]]", rows)

    @overload
    def aggregate_stream(
        self,
        *filters: Condition,
        group: Sequence[GroupKey] = (),
        having: Condition = ALL,
        page_size: int = 2_000,
        into: None = None,
        **measures: Measure,
    ) -> AsyncIterator[dict[str, Value]]: ...

    @overload
    def aggregate_stream(
        self,
        *filters: Condition,
        group: Sequence[GroupKey] = (),
        having: Condition = ALL,
        page_size: int = 2_000,
        into: type[R],
        **measures: Measure,
    ) -> AsyncIterator[R]: ...

    async def aggregate_stream(
        self,
        *filters: Condition,
        group: Sequence[GroupKey] = (),
        having: Condition = ALL,
        page_size: int = 2_000,
        into: type[R] | None = None,
        **measures: Measure,
    ) -> AsyncIterator[R | dict[str, Value]]:
        """Yield what ``aggregate`` returns, one row after the other, of any number of groups.

        Rows come in order of the group's key, page by page: each page is one request of
        ``page_size`` groups, with a deadline of its own. With a bucket of instants one request
        comes before, for the first and the last of them. What others write meanwhile may be in a
        page that comes later.
        """
        require_unsorted(self._entity, measures)
        asked = asked_aggregate(
            self._entity,
            self._where(filters),
            group,
            measures,
            having=cast(Filter, having),
            order=(),
            limit=None,
            into=into,
        )
        async for row in stream_groups(asked, self._executor, page_size):
            yield cast("R | dict[str, Value]", row)

    def _order(self, keys: Iterable[SortKey]) -> tuple[Order, ...]:
        return own_order(self._entity, keys)

    def _where(self, filters: tuple[Condition, ...]) -> Filter:
        given = cast("tuple[Filter, ...]", filters)  # the guard refuses a real bool
        where = And(given)
        require_same_source(self._entity, where, self._source)
        return stored_filter(self._entity, where)
