"""The claims: what is the same on every backend, one line each, and what stands behind each line.

The tests of the contract say which claims they prove, by ``proves`` of
``healthstore.testing.contract``; :mod:`healthstore.testing.matrix` makes a page of both. A claim
without a test stands in :data:`PLANNED`, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ("ABSENT", "CLAIMS", "COLUMNS", "EMULATIONS", "PLANNED", "SUBJECTS", "Emulation")

SUBJECTS: Mapping[str, str] = {
    "V": "Values",
    "J": "JSON",
    "C": "Text, order and null",
    "A": "Arithmetic and time",
    "W": "Writes",
    "T": "Transactions",
    "D": "Drivers",
}
"""What the first letter of a claim's name stands for, in the order of the page."""

CLAIMS: Mapping[str, str] = {
    "V1": "An instant keeps its microseconds; of milliseconds only, a finer one is refused.",
    "V2": "No digit of a value is dropped or rounded on its way.",
    "V3": "An instant is aware, comes back in UTC in whatever zone anybody is; a naive one is refused.",
    "V4": "Days and instants from 0001-01-02 to 9999-12-30 are kept, others refused.",
    "V5": "Dates, times of day and durations are exact.",
    "V6": "A decimal is exact with its declared places, or refused.",
    "V7": "An integer has 64 bits with sign; a longer one is refused.",
    "V8": "The declared type decides; nothing is turned into another type.",
    "V9": "A store that cannot hold a value says so; it never changes one.",
    "V10": "A bool is no number.",
    "V11": "A float is finite; NaN and infinities are refused.",
    "V12": "Minus zero is zero.",
    "V13": "U+0000 is refused wherever a text may stand.",
    "V14": "A lone surrogate is refused wherever a text may stand.",
    "V15": "The length of a text counts code points, and has the same limit everywhere.",
    "V16": "Composed and decomposed letters stay what they were, and are different texts.",
    "V17": "Bytes are exact.",
    "V18": "A UUID is a UUID, ordered by its 16 bytes.",
    "V19": "A member of an enum is stored by its value, and no other value is.",
    "V20": "What is read or given is a copy.",
    "J1": "Numbers in JSON are integers of 64 bits or finite floats, and come back exactly.",
    "J2": "Keys of JSON are unique and have no order.",
    "J3": "Parts of JSON are compared by value, in any order of keys.",
    "J4": "Null, missing and no JSON at all are three things.",
    "J5": "A key of JSON may be any text that a field may hold.",
    "J6": "A number in a path is a place in a list, a text is a key.",
    "J7": "A comparison with a value of another type does not hold.",
    "J8": "Lists are compared whole, or searched by operators of their own.",
    "J9": "A part of JSON is written by its path.",
    "J10": "JSON of 64 levels is kept, a deeper one or a larger document refused.",
    "J11": "A path of JSON can be indexed, grouped by and summed, by a declared type.",
    "C1": "Texts are equal if their code points are: in filters, keys, groups and checks.",
    "C2": "Spaces at the end of a text count.",
    "C3": "Texts are sorted by code point.",
    "C4": "Ignoring case is one folding everywhere.",
    "C5": "What is searched in a text is taken literally.",
    "C6": "Regular expressions are one small language.",
    "C7": "None is smallest, unless the order places it.",
    "C8": "A filter and its negation share out all documents.",
    "C9": "A list may be empty, or hold None.",
    "C10": "Each document has each field of its definition; what none wrote is None.",
    "C11": "A key is taken once, a key with None in it never.",
    "C12": "A field holds values of one type, however they were given.",
    "C13": "A key may hold under a condition.",
    "C14": "A search finds the same words in the same rank everywhere.",
    "A1": "A sum out of range is an error, and changes nothing.",
    "A2": "What is None cannot be incremented, and nothing else of the request is done.",
    "A3": "All parts of a change see the document as it was.",
    "A4": "A sum of integers is exact, or an error.",
    "A5": "A sum of decimals is exact, with its places.",
    "A6": "A sum of floats is exact, rounded once, and depends on no order.",
    "A7": "Of nothing a sum or count is 0, everything else None.",
    "A8": "A mean is made of an exact sum and count.",
    "A9": "What must be rounded is rounded half to even.",
    "A10": "No database divides; what is not the same everywhere is not offered.",
    "A11": "Buckets of time are those of the local calendar, by one set of zones.",
    "A12": "The time of a write is the program's, by a clock that can be given.",
    "A13": "None is one group.",
    "W1": "A write says what it found, not what it changed.",
    "W2": "A write returns the document as it is stored.",
    "W3": "An upsert updates by the key that it names; another key that is taken is an error.",
    "W4": "An upsert is the same call everywhere.",
    "W5": "An id that comes twice in a request is refused, with both places.",
    "W6": "Many documents are written whole or not at all, unless the caller allows parts.",
    "W7": "Limits of statements, messages and filters are not seen.",
    "W8": "A key or index has one limit of length, told where it is defined.",
    "W9": "As many fields as are allowed fit in a row, each of them full.",
    "W10": "Names have one rule; no database takes one for its own, cuts or folds it.",
    "W11": "Ids are made by the client; no sequence is asked.",
    "W12": "A key is unique at each moment.",
    "W13": "Every order is total, every page has one.",
    "W14": "A stream goes on by the last key, and leaves no cursor open.",
    "W15": "A count is exact.",
    "W16": "What has expired is not seen.",
    "T1": "A unit is kept whole or not at all.",
    "T2": "An error ends a unit.",
    "T3": "A lock that was waited for in vain leaves no half of a unit.",
    "T4": "A part of a unit can be taken back.",
    "T5": "A unit reads one state, and no update is lost.",
    "T6": "A unit that gave way is run again.",
    "T7": "Writers that are too many wait.",
    "T8": "References are enforced on every connection.",
    "T9": "A definition changes outside of units, and what is cut short is completed.",
    "T10": "A unit has a deadline, and one user at a time.",
    "T11": "A commit of which no answer came is told as such; a repeated request is done once.",
    "T12": "Acknowledged is durable, or the backend says that it is not.",
    "T13": "A read after an own write sees it.",
    "T14": "Jobs are handed out once.",
    "T15": "A broken rule is the same error with the same fields.",
    "T16": "What goes by a cascade is planned above the database.",
    "D1": "A read sees the last write that was acknowledged.",
    "D2": "What was cancelled is not done later, by nobody.",
    "D3": "What was cancelled stops at the server, too.",
    "D4": "A cancelled request loses no connection.",
    "D5": "No connection comes back with a unit in it.",
    "D6": "A server is known by the product and version that it names itself.",
    "D7": "Values have their declared type, whatever a driver makes of them.",
}
"""The name of each claim and its promise."""

_LATER = "not asked of the contract yet"

PLANNED: Mapping[str, str] = {
    "W11": _LATER,
    "W16": "there is no expiry yet",
    "T3": "proven with real servers by the tests of faults",
    "T12": "proven with killed servers by the tests of faults",
    "T13": _LATER,
}
"""Each claim that no test of the contract proves, and why; a test that proves it ends that."""

COLUMNS = ("memory", "sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs")
"""The backends of the page: ``mongodb`` is one server, ``mongodb-rs`` a replica set."""

ABSENT: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(COLUMNS, frozenset[str]()),
    "memory": frozenset({"durable", "element_indexes", "term_indexes"}),
    "sqlite": frozenset({"element_indexes"}),
    "mariadb": frozenset({"hyphen_keys", "deep_json", "element_indexes", "term_indexes"}),
    "mongodb": frozenset(
        {
            "transactions",
            "references",
            "semi_joins",
            "serializable",
            "stops_cancelled",
            "parts",
            "locks",
        }
    ),
    "mongodb-rs": frozenset({"semi_joins", "serializable", "stops_cancelled", "parts"}),
}
"""The capabilities that each column declares absent: what needs them is refused there."""

_SQLITE = ("sqlite",)
_MYSQL = ("mysql", "mariadb")
_MONGODB = ("mongodb", "mongodb-rs")
_SERVERS = ("postgresql", *_MYSQL, *_MONGODB)
_DATABASES = (*_SQLITE, *_SERVERS)


@dataclass(frozen=True, slots=True)
class Emulation:
    """How the library keeps some claims where a database has nothing that is exact for them."""

    claims: tuple[str, ...]
    columns: tuple[str, ...]
    how: str


EMULATIONS: tuple[Emulation, ...] = (
    Emulation(
        ("V3", "V10", "V11", "V12", "V13", "V14", "W5", "J10", "A2", "A12"),
        _DATABASES,
        "checked or made canonical above the seam, before anything is sent",
    ),
    Emulation(
        ("V7", "V8", "V15", "W8", "W9", "W10"),
        _DATABASES,
        "one rule above the seam, at or below the limit of each database",
    ),
    Emulation(("V1", "V4"), (*_SQLITE, *_MONGODB), "stored as an integer of microseconds"),
    Emulation(
        ("V5",),
        _DATABASES,
        "durations are integers of microseconds; SQLite and MongoDB hold dates as texts, times as "
        "integers",
    ),
    Emulation(
        ("V6", "A5"), _SQLITE, "scaled integers up to 18 digits, texts of fixed width beyond"
    ),
    Emulation(("V18",), (*_SQLITE, *_MYSQL), "stored as 16 bytes"),
    Emulation(("V19",), _DATABASES, "a short text and a check of the members"),
    Emulation(
        ("J1", "J2", "J5"),
        (*_SQLITE, *_MYSQL),
        "canonical text, never the JSON type of the database",
    ),
    Emulation(
        ("J1", "J2", "J5"), ("postgresql", *_MONGODB), "escaped where the database would change it"
    ),
    Emulation(("C4",), _DATABASES, "a hidden field holds the folded text, with an index"),
    Emulation(("C7",), ("postgresql",), "NULLS FIRST or LAST in each order and index"),
    Emulation(("C8", "C9"), _DATABASES, "filters are brought into a form without null logic first"),
    Emulation(("C10",), _MONGODB, "written by every write, and read as None where it is not there"),
    Emulation(("C11",), _MONGODB, "partial indexes over documents without None"),
    Emulation(
        ("C14",),
        _DATABASES,
        "hidden fields hold the words; an index of them on PostgreSQL and MongoDB, else a scan",
    ),
    Emulation(("A1", "A4"), _DATABASES, "checked, or summed in a wider type and checked"),
    Emulation(("A6", "A8", "A9"), _DATABASES, "made in the core of exact parts"),
    Emulation(("A10",), _DATABASES, "the language of requests has no such operation"),
    Emulation(
        ("J9", "W2", "W3", "W4"),
        _DATABASES,
        "a loop of the core that is guarded by versions and keys",
    ),
    Emulation(("W6", "W7"), _DATABASES, "sent in parts, in one transaction"),
    Emulation(("W13", "W14"), _DATABASES, "id ends every order, and a page begins after a key"),
    Emulation(("T16",), _DATABASES, "planned in the core, in one unit"),
    Emulation(("T10",), _DATABASES, "kept by the library"),
    Emulation(("T14",), _MYSQL, "read first, then locked by ids in their order, and changed"),
    Emulation(("T14",), _MONGODB, "each is changed under the version that was read"),
    Emulation(("T11",), _DATABASES, "a request with a key has a row, written in its transaction"),
    Emulation(("T5",), _MYSQL, "what a unit locks is compared with what it has read"),
    Emulation(("T7",), _SQLITE, "one writer, and a queue before it"),
    Emulation(("D3",), _MYSQL, "the statement is killed from another connection"),
    Emulation(("D7",), _DATABASES, "decoded by the declared type"),
)
"""What is emulated where; everything else that a column keeps is native there."""
