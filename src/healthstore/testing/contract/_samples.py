"""The collections and documents on which the contract is tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from healthstore.abc import Backend, Executor
from healthstore.model.evaluate import matches, sort_documents
from healthstore.model.ops import Ensure, Find, Get, Insert
from healthstore.model.query import ALL, F, Filter, Order
from healthstore.model.schema import (
    Check,
    Collection,
    Field,
    Index,
    OnDelete,
    Reference,
    Unique,
)
from healthstore.model.values import Document, FieldType, Json, Kind, Value, canonicaliser

__all__ = (
    "CHECKED",
    "EDGES",
    "EVERYTHING",
    "KEYED",
    "LARGE",
    "PEOPLE",
    "READINGS",
    "SPELLINGS",
    "add",
    "canonical",
    "checked",
    "every_row",
    "everything",
    "exact",
    "family",
    "identity",
    "ids",
    "keyed",
    "member",
    "one",
    "person",
    "reading",
    "selected",
    "stored",
    "typed",
)

_BERLIN = ZoneInfo("Europe/Berlin")


def _fields(*fields: Field) -> tuple[Field, ...]:
    key = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
    return (*key, *fields)


_TYPES: Mapping[str, FieldType] = {
    "text": FieldType(Kind.TEXT),
    "label": FieldType(Kind.TEXT, max_length=100),
    "number": FieldType(Kind.INTEGER),
    "flag": FieldType(Kind.BOOLEAN),
    "ratio": FieldType(Kind.FLOAT),
    "amount": FieldType(Kind.DECIMAL, digits=28, places=10),
    "price": FieldType(Kind.DECIMAL, digits=12, places=4),
    "moment": FieldType(Kind.DATETIME),
    "moment_ms": FieldType(Kind.DATETIME, milliseconds=True),
    "day": FieldType(Kind.DATE),
    "clock": FieldType(Kind.TIME),
    "span": FieldType(Kind.DURATION),
    "owner": FieldType(Kind.UUID),
    "blob": FieldType(Kind.BYTES),
    "data": FieldType(Kind.JSON),
    "level": FieldType(Kind.ENUM, choices=("low", "High", "mid", "äußerst")),
}

EVERYTHING = Collection(
    "contract_everything",
    _fields(*(Field(name, kind, nullable=True) for name, kind in _TYPES.items())),
    entity="Everything",
)

PEOPLE = Collection(
    "contract_people",
    _fields(
        Field("email", FieldType(Kind.TEXT, max_length=100)),
        Field("name", FieldType(Kind.TEXT, max_length=100), nullable=True),
        Field("team", FieldType(Kind.TEXT, max_length=50), nullable=True),
        Field("number", FieldType(Kind.INTEGER), nullable=True),
        Field("visits", FieldType(Kind.INTEGER)),
        Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("profile", FieldType(Kind.JSON), nullable=True),
    ),
    uniques=(Unique("email"), Unique("team", "number")),
    indexes=(Index("name", "-visits"),),
    entity="Person",
)

READINGS = Collection(
    "contract_readings",
    _fields(
        Field("place", FieldType(Kind.TEXT, max_length=20), nullable=True),
        Field("kind", FieldType(Kind.ENUM, choices=("pulse", "weight", "steps"))),
        Field("day", FieldType(Kind.DATE), nullable=True),
        Field("steps", FieldType(Kind.INTEGER), nullable=True),
        Field("pulse", FieldType(Kind.FLOAT), nullable=True),
        Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("dose", FieldType(Kind.DECIMAL, digits=28, places=8), nullable=True),
        Field("rest", FieldType(Kind.DURATION), nullable=True),
        Field("taken", FieldType(Kind.DATETIME), nullable=True),
        Field("clock", FieldType(Kind.TIME), nullable=True),
        Field("valid", FieldType(Kind.BOOLEAN), nullable=True),
        Field("device", FieldType(Kind.UUID), nullable=True),
    ),
    indexes=(Index("place", "-day"), Index("-taken")),
    entity="Reading",
)

CHECKED = Collection(
    "contract_checked",
    _fields(
        Field("age", FieldType(Kind.INTEGER), nullable=True),
        Field("state", FieldType(Kind.TEXT, max_length=20), nullable=True),
        Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("since", FieldType(Kind.DATE), nullable=True),
        Field("note", FieldType(Kind.TEXT, max_length=40)),
    ),
    checks=(
        Check("age_is_human", (F.age >= 0) & (F.age <= 150)),
        Check("state_is_known", F.state.in_(["open", "closed", "it's"])),
        Check("weight_is_plausible", ~((F.weight <= Decimal(0)) | (F.weight > Decimal(700)))),
        Check("since_is_recent", F.since >= date(1900, 1, 1)),
        Check("children_are_open", (F.age >= 18) | (F.state == "open")),
    ),
    entity="Checked",
)

_KEY_TYPES: Mapping[str, FieldType] = {
    name: _TYPES[name]
    for name in (
        *("label", "number", "flag", "ratio", "amount", "price", "moment", "moment_ms"),
        *("day", "clock", "span", "owner", "level"),
    )
}

# A unique key over each kind of field that can be indexed.
KEYED = Collection(
    "contract_keyed",
    _fields(
        *(Field(name, kind, nullable=True) for name, kind in _KEY_TYPES.items()),
        Field("wide", FieldType(Kind.TEXT, max_length=640), nullable=True),
    ),
    uniques=tuple(Unique(name) for name in (*_KEY_TYPES, "wide")),
    entity="Keyed",
)


def family(on_delete: OnDelete) -> tuple[Collection, Collection, Collection]:
    """Return three generations of collections, each with references to the one before.

    A child's ``parent`` and a grandchild's ``parent`` are treated as ``on_delete`` says.
    """
    name = Field("name", FieldType(Kind.TEXT))
    parent = Field("parent", FieldType(Kind.UUID), nullable=True)
    parents = Collection(f"contract_{on_delete}_parents", _fields(name), entity="Parent")
    children, grandchildren = (
        Collection(
            f"contract_{on_delete}_{plural}",
            _fields(parent, name),
            references=(Reference("parent", f"contract_{on_delete}_{above}", on_delete),),
            entity=entity,
        )
        for plural, entity, above in (
            ("children", "Child", "parents"),
            ("grandchildren", "Grandchild", "children"),
        )
    )
    return parents, children, grandchildren


# --- values at the edges of each kind --------------------------------------------------------


def _nested(levels: int) -> Json:
    value: Json = "deep"
    for level in range(levels):
        value = {"in": value} if level % 2 else [value]
    return value


_ODD_KEYS: dict[str, Json] = {
    "": 1, ".": 2, "a.b": 3, "$": 4, "$set": {"$inc": {"x": 1}}, "$date": "no date", "é": 5,
    "😀": 6, " ": 7, '"': 8, 'a"b': 9, "\\": 10, "'": 11, "__proto__": 12, "0": 13, "a.$.b": 14,
    "_id": 15, "\x01": 16, "\uffff": 17, "\U00010000": 18,
}  # fmt: skip

_JSON_EDGES: tuple[Json, ...] = (
    True, False, 0, 1, 1.0, -1, 0.0, 0.1, 0.1 + 0.2, 1e16, 1e22, 1e300, 5e-324,
    1.7976931348623157e308, 2**53 + 1, 2**63 - 1, -(2**63), "", "text", "1", "null", "😀",
    [], {}, [None], {"a": None}, [[]], [{}], [1, 1.0, True, "1", None], {"a": {"b": [1]}},
    {"$date": "2026-01-01T00:00:00Z"}, {"$numberLong": "5"}, {"$hsLiteral": {"$uuid": "x"}},
    dict(sorted(_ODD_KEYS.items())), _nested(60), [*range(1_000)],
    {"n": [0.1, 1e16, 1e300, 5e-324, 1.0, 1, 2**63 - 1]}, "\\u0041", "\x01\x7f\u2028",
)  # fmt: skip

# The smallest and largest of each kind, neighbours that a lossy conversion would merge, and
# what a careless statement would misread. Every value is canonical.
EDGES: Mapping[str, tuple[Value, ...]] = {
    "text": (
        *("", " ", "a", "A", "a ", " a", "á", "a\u0301", "é", "B", "b", "Z", "ss", "ß", "İ", "i"),
        *("\uffee", "\ufffd", "\U0001f600", "👩‍⚕️", "\t\r\n", "'", '"', "\\", "%", "_", "\\%"),
        *("x' OR 1=1 --", "\x7f", "\x01", "\ud7ff", "\ue000", "\uffff", "\U0010ffff", "null"),
        *("{}", "true", "0", "1.0", "$1", ":name", "?", "%s", "%(name)s", "${x}", "\u2028"),
    ),
    "label": ("", " ", "a", "A", "a ", "á", "é", "e\u0301", "ß", "\uffee", "😀" * 100, "0", "%s"),
    "number": (0, 1, -1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)),
    "flag": (False, True),
    "ratio": (
        *(0.0, 1.0, -1.5, 0.1, 0.1 + 0.2, 1e16, 1e22, 1e300, -1e300, 5e-324, 1 / 3),
        *(1.7976931348623157e308, 2.2250738585072014e-308, 123456789.123456789, 2.0**53 + 2),
    ),
    "amount": tuple(
        Decimal(text).quantize(Decimal("1E-10"))
        for text in (
            *("0", "0.0000000001", "-0.0000000001", "1.1", "-1.1", "10", "0.1", "2.5"),
            *("999999999999999999.9999999999", "-999999999999999999.9999999999"),
            *("123456789012345678.0123456789", "123456789012345678.0123456788"),
        )
    ),
    "price": tuple(
        Decimal(text).quantize(Decimal("0.0001"))
        for text in ("0", "0.0001", "-0.0001", "72.5", "99999999.9999", "-99999999.9999", "9", "10")
    ),
    "moment": (
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 30, 0, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 30, 0, 999_999, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        datetime(1582, 10, 10, tzinfo=UTC),
    ),
    "moment_ms": (
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, 1_000, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    ),
    "day": (
        *(date(1, 1, 2), date(9999, 12, 30), date(1970, 1, 1), date(1582, 10, 10)),
        *(date(2024, 2, 29), date(1900, 2, 28), date(999, 12, 31), date(10, 1, 1)),
    ),
    "clock": (time(0), time(23, 59, 59, 999_999), time(12, 0, 0, 1), time(9, 30), time(10)),
    "span": (
        *(timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1)),
        *(timedelta(days=90), timedelta(hours=839), timedelta(microseconds=2**63 - 1)),
        *(timedelta(microseconds=-(2**63)), timedelta(microseconds=2**53 + 1)),
    ),
    "owner": (
        *(UUID(int=0), UUID(int=2**128 - 1), UUID("00000000-0000-0001-0000-000000000000")),
        *(UUID("01000000-0000-0000-0000-000000000000"), UUID("0f" * 16), UUID("f0" * 16)),
        UUID("123e4567-e89b-42d3-a456-426614174000"),
    ),
    "blob": (b"", b"\x00", b"\x00\x00", b"\xff", b"a", b"'\\\"%", bytes(range(256)), b"\xc3\x28"),
    "data": _JSON_EDGES,
    "level": ("low", "High", "mid", "äußerst"),
}

# Values that take more room than one page of any database.
LARGE: Mapping[str, Value] = {
    "text": "a😀é" * 200_000,
    "blob": bytes(range(256)) * 4_000,
    "data": {"rows": [{"n": number, "text": "x" * 50} for number in range(10_000)]},
}

# (field, what is given, what is kept): two spellings of one value.
SPELLINGS: tuple[tuple[str, object, Value], ...] = (
    ("ratio", -0.0, 0.0),
    ("ratio", 70, 70.0),
    ("amount", Decimal("-0"), Decimal("0E-10")),
    ("amount", Decimal("1E+3"), Decimal("1000.0000000000")),
    ("price", 5, Decimal("5.0000")),
    (
        "moment",
        datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN, fold=1),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    ),
    (
        "moment",
        datetime(2026, 7, 1, 2, 30, 0, 7, tzinfo=_BERLIN),
        datetime(2026, 7, 1, 0, 30, 0, 7, tzinfo=UTC),
    ),
    ("blob", bytearray(b"ab"), b"ab"),
    ("data", {"b": -0.0, "a": (1, 2)}, {"a": [1, 2], "b": 0.0}),
)


# --- documents -------------------------------------------------------------------------------


def _document(collection: Collection, values: Mapping[str, object]) -> Document:
    for name in values:
        collection.field(name)
    document = dict.fromkeys(collection.names)
    return cast(Document, {**document, "id": uuid4(), "version": 1, **values})


def identity(number: int) -> UUID:
    """Return an id; a greater number gives a greater id."""
    return UUID(int=number << 64 | 0x8000_0000_0000_0001)


def everything(**values: object) -> Document:
    """Return a document of :data:`EVERYTHING`, null where nothing is given."""
    return _document(EVERYTHING, values)


def person(at: int = 0, /, **values: object) -> Document:
    """Return a document of :data:`PEOPLE`; the number makes its e-mail address."""
    return _document(PEOPLE, {"email": f"{at}@example.org", "visits": 0, **values})


def reading(**values: object) -> Document:
    """Return a document of :data:`READINGS`."""
    return _document(READINGS, {"kind": "pulse", **values})


def checked(**values: object) -> Document:
    """Return a document of :data:`CHECKED`."""
    return _document(CHECKED, {"note": "", **values})


def keyed(**values: object) -> Document:
    """Return a document of :data:`KEYED`."""
    return _document(KEYED, values)


def member(collection: Collection, parent: Value = None, **values: object) -> Document:
    """Return a document of one generation of a :func:`family`."""
    referring = {"parent": parent} if collection.references else {}
    return _document(collection, {"name": "", **referring, **values})


def every_row(count: int) -> list[Document]:
    """Return documents of :data:`EVERYTHING` that mix the edges of all kinds with nulls."""
    rows: list[Document] = []
    for number in range(count):
        values: dict[str, object] = {"id": identity(number)}
        for place, (name, edges) in enumerate(EDGES.items()):
            null = (number * 7 + place * 3) % 5 == 0
            values[name] = None if null else edges[(number + place) % len(edges)]
        rows.append(everything(**values))
    return rows


# --- doing and comparing ---------------------------------------------------------------------


async def add(store: Backend, collection: Collection, *documents: Document) -> None:
    """Make a collection if it is missing, and add documents as any backend can."""
    await store.execute(Ensure((collection,)))
    if store.capabilities.transactions or len(documents) < 2:
        await store.execute(Insert(collection, documents))
    else:
        await store.execute(Insert(collection, documents, atomic=False))


async def stored(store: Executor, collection: Collection, where: Filter = ALL) -> list[Document]:
    """Return every document that satisfies a filter, by id."""
    found: list[Document] = []
    position: tuple[Value, ...] | None = None
    while True:
        page = await store.execute(Find(collection, where, limit=1_000, after=position))
        found.extend(page)
        if len(page) < 1_000:
            return found
        position = (page[-1]["id"],)


async def one(store: Executor, collection: Collection, document: Document) -> Document | None:
    """Return the stored document with the id of this one."""
    (found,) = await store.execute(Get(collection, (cast(UUID, document["id"]),)))
    return found


def selected(
    rows: Iterable[Document], where: Filter, order: Sequence[Order] = (Order("id"),)
) -> list[Document]:
    """Return what the reference evaluator selects from rows, in order."""
    return sort_documents(filter(matches(where), rows), order)


def canonical(collection: Collection, name: str, value: object) -> Value:
    """Return the canonical form of a value of a field."""
    return canonicaliser(collection.field(name).type)(value)


def ids(documents: Iterable[Document]) -> tuple[UUID, ...]:
    """Return the ids of documents."""
    return tuple(cast(UUID, document["id"]) for document in documents)


def exact(document: Document | None) -> dict[str, object] | None:
    """Return a document with each value :func:`typed`; the order of its fields does not count."""
    return None if document is None else {name: typed(each) for name, each in document.items()}


def typed(value: object) -> object:
    """Return a form that is equal only for values of the same type that print the same.

    ``1``, ``1.0``, ``True`` and ``Decimal("1.0")`` are equal to Python; here they differ, as do
    instants with other zones and objects whose keys come in another order.
    """
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return ("dict", [(key, typed(inner)) for key, inner in entries.items()])
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return (type(items).__name__, [typed(inner) for inner in items])
    return f"{type(value).__name__} {value!r}"
