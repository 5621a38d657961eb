"""JSON as hostile as it comes, in the places where a path may look for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from healthstore.abc import Backend
from healthstore.model.ops import CountDocuments, Ensure, Find
from healthstore.model.query import Filter, Not
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Json, Kind
from healthstore.testing.contract._samples import add, identity, ids, selected

__all__ = (
    "KEYS",
    "LISTS",
    "PATHS",
    "ROWS",
    "SCALARS",
    "STRUCTURED",
    "agrees",
    "divides",
    "filled",
    "structured",
)

STRUCTURED = Collection(
    name="contract_structured",
    fields=(
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("data", FieldType(Kind.JSON), nullable=True),
        Field("tags", FieldType(Kind.JSON), nullable=True),
        Field("note", FieldType(Kind.TEXT), nullable=True),
        Field("count", FieldType(Kind.INTEGER), nullable=True),
    ),
    entity="Structured",
)

SCALARS: tuple[Json, ...] = (
    *(True, False, 0, 1, -1, 2, 2.5, 0.1, -0.5),
    *(2**53, 2**53 + 1, float(2**53), 2.0**53 + 2, 1e16, 10**16, 10**16 + 1),
    *(2**63 - 1, -(2**63), 2.0**63, -(2.0**63), 5e-324, -5e-324, 1e300, -1e300),
    *("", "1", "true", "null", "a", "a ", "A", "b", "ab", "é", "e\u0301", "ß", "\U0001f600"),
    *("%", "_", "\\", "'", '"', "a\nb", "\x01", "\x7f", "\u2028", "[1]", '{"y": 1}', "\uffff"),
)
"""Values of every scalar type, among them those that a careless comparison takes for another."""

_NESTED: Sequence[object] = (
    *([], {}, [1], [1.0], [True], ["a"], [None], [[]], [[1]], [["a"]], {"y": None}, {"0": 1}),
    *([{"y": 1}], [{"y": "a"}, {"y": 2}], [{"0": 1}], {"y": {"y": 1}}, {"y": [1]}, [1, 2, "a"]),
    *([2**53 + 1], [2.0**53], {"y": 2**53 + 1}, {"y": 2.0**53}, {"a": 1, "b": [1, {"c": 2.0}]}),
)

PATHS: tuple[tuple[str | int, ...], ...] = (
    *(("x",), ("x", "y"), ("x", 0), (0,), ("x", 0, "y"), ("x", "0"), ("x", "y", 0), (0, 0)),
)


def structured(at: int, data: object = None, tags: object = None, **values: object) -> Document:
    """Return a document of :data:`STRUCTURED`; the number makes its id."""
    empty = dict.fromkeys(STRUCTURED.names)
    given = {"id": identity(at), "version": 1, "data": data, "tags": tags, **values}
    return cast(Document, {**empty, **given})


def _placed() -> list[object]:
    """Return each value in every place where one of the paths may look for it."""
    found: list[object] = [None, {}, [], {"x": None}, {"y": 1}, {"X": 1}]
    for value in (*SCALARS, *_NESTED):
        found += [value, {"x": value}, {"x": {"y": value}}, {"x": [value]}]
    for value in (*SCALARS[::3], *_NESTED[::2]):
        found += [[value], {"x": [{"y": value}]}, {"x": {"0": value}}, [{"x": value}]]
    return found


LISTS: Sequence[object] = (
    *(
        None,
        [],
        ["a"],
        ["a", "b"],
        ["b", "a", "a"],
        ["A"],
        ["a "],
        [""],
        ['q"t', ","],
        ["\U0001f600"],
    ),
    *([1], [1.0], [True], [False], [0], ["1"], ["true"], [None], ["a", None], [2**53], [2**53 + 1]),
    *([2.0**53], [5e-324], [1e300], [2**63 - 1], [["a"]], [{"a": "a"}], [["a"], "b"], [[1], 2]),
    *("a", 1, True, {"a": "a"}, {"0": "a"}, [[]], [2, 1, "a", "b", True], ["a\nb", "\\", "'"]),
)

ROWS: Sequence[Document] = [
    *(structured(at, data) for at, data in enumerate(_placed())),
    *(structured(10_000 + at, {"list": tags}, tags) for at, tags in enumerate(LISTS)),
]

KEYS: tuple[str, ...] = (
    *(
        "a",
        "a b",
        "a.b",
        "$",
        "$a",
        "a$",
        "*",
        "**",
        "[0]",
        "a'b",
        'a"b',
        '"',
        "\\",
        "a\\b",
        "\\\\",
    ),
    *(
        "%",
        "%s",
        "%2E",
        "a%",
        ":x",
        "?",
        "#",
        "@",
        "ü",
        "e\u0301",
        "é",
        "\U0001f600",
        "0",
        "00",
        "-1",
    ),
    *("", " ", "\n", "\t", "\x01", "\x7f", "\u2028", "A", "a ", "{}", "{0}", "')--", "$1", "last"),
    *("__proto__", "null", "x" * 256, '"].b', '$."a"', "to", "a/b", "~1", "$$REMOVE", "\\u0061"),
)
"""Keys that mean something to somebody: a path, a statement, a driver, a format."""


async def filled(store: Backend) -> Backend:
    """Add the rows; an example of a law may find them already there."""
    await store.execute(Ensure((STRUCTURED,)))
    if not await store.execute(CountDocuments(STRUCTURED)):
        await add(store, STRUCTURED, *ROWS)
    return store


async def agrees(store: Backend, where: Filter) -> None:
    """Check that the store selects from the rows what Python selects, and the rest for ``~f``."""
    wanted = ids(selected(ROWS, where))
    assert ids(await store.execute(Find(STRUCTURED, where, limit=1_000))) == wanted, where
    chosen = set(wanted)
    rest = tuple(each for each in ids(selected(ROWS, Not(where))) if each not in chosen)
    assert len(rest) + len(wanted) == len(ROWS)
    assert ids(await store.execute(Find(STRUCTURED, Not(where), limit=1_000))) == rest, where


async def divides(
    store: Backend, rows: Sequence[Document], where: Filter, wanted: Sequence[int]
) -> None:
    """Check which of the rows, by their places, satisfy a filter, and all others its negation."""
    expected = [rows[at]["id"] for at in wanted]
    assert list(ids(await store.execute(Find(STRUCTURED, where, limit=1_000)))) == expected, where
    rest = [each["id"] for at, each in enumerate(rows) if at not in wanted]
    found = await store.execute(Find(STRUCTURED, Not(where), limit=1_000))
    assert list(ids(found)) == rest, where
