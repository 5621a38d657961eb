"""A search for words: rank by rank, from the documents that have all of them to those with one.

A rank is a filter, of documents that have exactly so many of the words. So each store answers as it
answers every query, by its own index where it has one, and a page reads on where the one before
ended, within a rank and beyond it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from healthstore.abc.backend import Executor
from healthstore.errors import InvalidRequestError
from healthstore.model.ops import Find, Found, Origin
from healthstore.model.query import WORDS, And, Filter, Not, Operator, Or, Test
from healthstore.model.schema import Collection
from healthstore.model.text import words_in
from healthstore.model.values import Document
from healthstore.repository.cursors import Position, Query, read_position, write_position
from healthstore.repository.pages import MAX_PAGE, Page

__all__ = ("MAX_TERMS", "MAX_TEXT", "search", "terms_of")

MAX_TERMS = 8  # a position counts them by one digit
"""The most words, each counted once, that a search looks for."""
MAX_TEXT = 1_000
"""The most characters of the text in which they are."""

T = TypeVar("T")


def terms_of(collection: Collection, text: object) -> tuple[str, ...]:
    """Return the words of what is searched for, each once.

    Raises InvalidRequestError for a collection that is not searched, and for too much.
    """
    if not collection.searched:
        raise InvalidRequestError(
            "it is not searched for words",
            hint='name its texts in the class: indexes=[Search("name", "description")]',
            entity=collection.entity,
        )
    if not isinstance(text, str):
        raise InvalidRequestError(
            f"what is searched for is a text, not {type(text).__name__}",
            hint='write search("noodle soup")',
            entity=collection.entity,
        )
    if len(text) > MAX_TEXT or len(terms := tuple(words_in(text))) > MAX_TERMS:
        raise InvalidRequestError(
            f"a search looks for at most {MAX_TERMS} words in at most {MAX_TEXT} characters",
            hint="search for fewer words",
            entity=collection.entity,
        )
    return terms


async def search(  # noqa: PLR0913 - each has a name where it is called
    executor: Executor,
    query: Query,
    terms: tuple[str, ...],
    limit: int,
    read: Callable[[Document], T],
    *,
    token: str | None,
    stale: bool,
) -> Page[T]:
    """Return the page of a search at a position, or the first one.

    ``query`` is that of all documents in which it looks, in the order of those of one rank.
    """
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise InvalidRequestError(
            f"the limit must be from 1 to {MAX_PAGE}",
            hint="read on with the page's `next`",
            entity=query.collection.entity,
        )
    rank, at = (len(terms), None) if token is None else _read(query, terms, token)
    here = None if at is None or stale else at.origin
    keys = None if at is None else at.keys
    found: list[Document] = []
    last: str | None = None
    while rank:
        ranked, wanted = _of_rank(query, terms, rank), limit - len(found)
        op = Find(query.collection, ranked.where, query.orders, wanted + 1, keys, here)
        rows = await executor.execute(op)
        here = rows.origin if isinstance(rows, Found) else Origin(executor.name)
        page = rows[:wanted]
        found.extend(page)
        if page:
            place = write_position(ranked, Position.of(ranked, page[-1], here))
            last = f"{rank}{len(terms)}{place}"
        rank, keys = (rank if len(rows) > wanted else rank - 1), None
        if len(found) == limit:
            # What is behind it may be of this rank or, with nothing read of it yet, of a lower one.
            left = len(rows) > wanted or await _is_below(executor, query, terms, rank, here)
            last = last if left else None
            break
    else:
        last = None
    member = executor.name if here is None else here.member
    return Page(tuple(map(read, found)), last, member)


async def _is_below(
    executor: Executor, query: Query, terms: tuple[str, ...], rank: int, here: Origin
) -> bool:
    """Tell whether a document has some of the words, but no more than a rank says."""
    if not rank:
        return False
    rest = (
        _at_least(query.collection, terms, 1),
        Not(_at_least(query.collection, terms, rank + 1)),
    )
    op = Find(query.collection, And((query.where, *rest)), limit=1, origin=here)
    return bool(await executor.execute(op))


def _of_rank(query: Query, terms: tuple[str, ...], rank: int) -> Query:
    """Return the query of the documents that have exactly so many of the words."""
    where = [query.where, _at_least(query.collection, terms, rank)]
    if rank < len(terms):
        where.append(Not(_at_least(query.collection, terms, rank + 1)))
    return replace(query, where=And(tuple(where)))


def _at_least(collection: Collection, terms: tuple[str, ...], count: int) -> Filter:
    """Return the filter of the documents that have so many of the words, in whichever text each."""
    if count == 1:
        return _has_any(collection, terms)
    if count == len(terms):
        return And(tuple(_has_any(collection, (each,)) for each in terms))
    first, rest = terms[:1], terms[1:]
    with_it = And((_has_any(collection, first), _at_least(collection, rest, count - 1)))
    return Or((with_it, _at_least(collection, rest, count)))


def _has_any(collection: Collection, terms: tuple[str, ...]) -> Filter:
    tests = (Test(name, Operator.HAS_ANY, terms, None, WORDS) for name in collection.searched)
    return Or(tuple(tests))


def _read(query: Query, terms: tuple[str, ...], token: str) -> tuple[int, Position]:
    """Return the rank and the place in it of a text; raise InvalidRequestError for another query's."""
    ranks = [f"{rank}{len(terms)}" for rank in range(1, len(terms) + 1)]
    written, place = str(token)[:2], str(token)[2:]
    if written not in ranks:
        written, place = ranks[0], ""  # of no search
    rank = ranks.index(written) + 1
    return rank, read_position(_of_rank(query, terms, rank), place)
