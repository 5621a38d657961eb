"""Questions and their statements: what each backend receives for what a service asks.

``python -m healthstore.testing.questions`` makes a page of them. No server is asked: each adapter
writes what it would send, and a session that goes nowhere keeps it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Annotated, Any, ClassVar, TypeVar, cast
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue

from healthstore.abc import Adapter, BackendURL, Layer, stack
from healthstore.abc.registry import connect
from healthstore.adapters.memory import MemoryAdapter
from healthstore.adapters.mongo.plans import template
from healthstore.build import build_guard
from healthstore.entity import Digits, Entity, MaxLength, Ref, collection_of
from healthstore.model.measures import (
    Avg,
    Bucket,
    Count,
    CountDistinct,
    Last,
    Max,
    Percentile,
    Sum,
)
from healthstore.model.ops import CountDocuments, Ensure, Op
from healthstore.model.query import F, desc
from healthstore.model.schema import Index
from healthstore.repository import Repository

__all__ = ("QUESTIONS", "STORES", "Patient", "Reading", "page", "statements")

R = TypeVar("R")

STORES: Mapping[str, str] = {
    "sqlite": "sqlite:///nowhere.db",
    "postgresql": "postgresql://nowhere/none",
    "mysql": "mysql://nowhere/none",
    "mariadb": "mariadb://nowhere/none",
    "mongodb": "mongodb://nowhere/none",
}
"""The backends of the page; no URL is opened."""


class Patient(Entity, collection="patients"):
    """A patient of the page."""

    name: Annotated[str, MaxLength(100)]


class Reading(Entity, collection="readings", indexes=[Index("patient_id", "-at")]):
    """A measurement of the page."""

    patient_id: Annotated[UUID, Ref(Patient)]
    kind: Annotated[str, MaxLength(20)]
    at: AwareDatetime
    ended_at: AwareDatetime | None = None
    value: Annotated[Decimal, Digits(9, 3)] | None = None
    note: str | None = None
    tags: list[str] = Field(default=[])
    data: dict[str, JsonValue] = Field(default={})


QUESTIONS: Mapping[str, Sequence[str]] = {
    "Filters": (
        'readings.find(F.patient_id == ann, F.value > 70, order=["-at"], limit=20)',
        'readings.find(F.note != "fasting")',
        'readings.find(~F.kind.in_(["weight", "pulse"]))',
        'readings.find(F.note.contains("100 %"))',
        'readings.find(F.kind.startswith("blood"))',
        'readings.find(F.kind.matches(r"[a-z_]{3,20}"))',
        "readings.find(F.ended_at >= F.at)",
        'readings.find(F.patient_id.in_(patients.query(F.name == "Ann").field("id")))',
    ),
    "Parts of JSON, and lists": (
        'readings.find(F.data["weight"] > 70)',
        'readings.find(F.data["place"]["city"] == "Bonn")',
        'readings.find(F.data["weight"].is_missing())',
        'readings.find(F.tags.has("fasting"))',
        "readings.find(F.tags.size() >= 2)",
    ),
    "Order and pages": (
        'readings.find(order=[desc("value", nulls="last")])',
        'readings.find(order=["-value"], after=page.next)',
        "readings.get(ann)",
    ),
    "Columns": (
        'readings.select("kind", "value", where=F.patient_id == ann)',
        'readings.select("kind", order=["kind"], distinct=True)',
    ),
    "Groups": (
        "readings.count(F.value == None)",
        'readings.aggregate(group=["kind"], n=Count(), total=Sum("value"), mean=Avg("value"))',
        'readings.aggregate(group=["kind"], order=["-n"], limit=10, n=Count())',
        'readings.aggregate(group=["kind"], of=CountDistinct("patient_id"), top=Max("value"))',
        'readings.aggregate(group=["kind"], p95=Percentile("value", 0.95))',
        'readings.aggregate(group=["kind"], last=Last("value", by="at"))',
        'readings.aggregate(F.at >= start, F.at < end, group=[Bucket("at", "day", tz="Europe/Berlin")], n=Count())',
        'readings.latest(per=["patient_id", "kind"], by="at")',
    ),
    "Writes by a condition": (
        'readings.update_where(F.at < start, {"note": None})',
        "readings.delete_where((F.at < start) & (F.value == None))",
    ),
}
"""What is asked, as it is written, by subject."""

_HEAD = """# Statements

What each backend receives for a question: the text that is sent, with places for the values
(`$1`, `%s`, `?`); `…` stands for every column of the table. MongoDB's is written as its shell
takes it. Of a zone, the changes of its clocks are written out: no server is asked for them. Memory
runs the [same meaning](semantics.md) in Python.

Of your own questions, [`explain`](../how-to/which-index-is-used.md) tells the statement, and
whether an index serves it. This page is made by the compilers, without a server: do not edit it,
but run `python -m healthstore.testing.questions > docs/reference/statements.md`.

The questions are of these entities:
"""

_ANN = UUID(int=7)
_START = datetime(2025, 3, 1, tzinfo=UTC)
_NAMES: Mapping[str, object] = {
    **{each.__name__: each for each in (Avg, Bucket, Count, CountDistinct, Last, Max, Sum)},
    "F": F,
    "Percentile": Percentile,
    "desc": desc,
    "ann": _ANN,
    "start": _START,
    "end": datetime(2025, 4, 1, tzinfo=UTC),
}


@dataclass(slots=True)
class _Nowhere:
    """A session, its connection and its database: keeps what is sent, and finds nothing."""

    rows: list[tuple[int, ...]]
    sent: list[str] = field(default_factory=list[str])
    name: str = ""
    transaction: bool = True
    """One is open, so that none is begun."""
    locked: set[tuple[str, UUID]] = field(default_factory=set[tuple[str, UUID]])

    @property
    def connection(self) -> _Nowhere:
        """What takes SQL."""
        return self

    @property
    def database(self) -> _Nowhere:
        """What knows collections."""
        return self

    driver = database

    def collection(self, name: str) -> _Nowhere:
        """Return what takes the commands of a collection."""
        return _Nowhere(self.rows, self.sent, name)

    async def list_collection_names(self) -> list[str]:
        """Return the collections of the page."""
        return [collection_of(each).name for each in (Patient, Reading)]

    async def fetch(self, sql: str, _: object = ()) -> list[tuple[int, ...]]:
        """Keep a statement."""
        self.sent.append(_short(sql))
        return self.rows

    async def aggregate(self, pipeline: Sequence[Any], **_: object) -> _Nowhere:
        """Keep a pipeline, with a place for each value."""
        # Beyond the filter there are paths, and numbers of ours.
        stages = [template(each, inside="$match" not in each) for each in pipeline]
        self._keep(f"aggregate({_json(stages)})")
        return self

    aggregate_raw_batches = aggregate

    def find_raw_batches(
        self, where: object, columns: object = None, *, sort: Any = (), **_: object
    ) -> _Nowhere:
        """Keep a page's command."""
        shown = "" if columns is None else f", {_json(columns)}"
        self._keep(f"find({_json(template(where))}{shown}).sort({_json(dict(sort))}).limit(?)")
        return self

    async def execute(self, sql: str, _: object = (), *, last: bool = False) -> int:
        """Keep a statement that writes."""
        del last
        self.sent.append(_short(sql))
        return 0

    async def update_many(
        self, where: object, change: Mapping[str, Mapping[str, object]], **_: object
    ) -> _Nowhere:
        """Keep a command that changes documents."""
        places = {each: dict.fromkeys(fields, "?") for each, fields in change.items()}
        self._keep(f"updateMany({_json(template(where))}, {_json(places)})")
        return self

    async def delete_many(self, where: object, **_: object) -> _Nowhere:
        """Keep a command that removes documents."""
        self._keep(f"deleteMany({_json(template(where))})")
        return self

    matched_count = deleted_count = 0
    in_unit = False

    def require_writable(self) -> None:
        """Allow every write."""

    def find(self, _: object) -> _Nowhere:
        """Find nothing in the catalog."""
        return self

    async def find_one(self, where: object, **_: object) -> None:
        """Keep a command that reads one document by its key."""
        self._keep(f"findOne({_json(template(where))})")

    async def count_documents(self, where: object, **_: object) -> int:
        """Keep a count's command."""
        self._keep(f"countDocuments({_json(template(where))})")
        return 0

    async def to_list(self) -> list[Any]:
        """Return what was found: nothing."""
        return []

    def _keep(self, command: str) -> None:
        self.sent.append(f"db.{self.name}.{command}")


_COUNTED: frozenset[type] = frozenset({CountDocuments})  # what is answered with a number


class _NowhereLayer(Layer):
    """Lets an adapter run each operation in a session that goes nowhere."""

    rank: ClassVar[int] = 50
    sent: list[str]

    async def execute(self, op: Op[R]) -> R:
        """Keep what is sent."""
        session = _Nowhere([(0,)] if type(op) in _COUNTED else [])
        # Of every adapter alike: SQLite's own way to its thread leads somewhere.
        found = await Adapter.run(cast("Adapter[Any]", self.inner), session, op)
        self.sent = session.sent
        return found


async def statements(store: str, question: str) -> list[str]:
    """Return what one of the ``STORES`` is sent for a question, with places for the values."""
    adapter = cast("Adapter[Any]", connect(BackendURL.parse(STORES[store]), store))
    adapter.capabilities = replace(adapter.capabilities, transactions=True)  # as a replica set
    layer = _NowhereLayer(adapter)
    guarded = build_guard(stack(layer, []))
    asked = {"readings": Repository(Reading, guarded), "patients": Repository(Patient, guarded)}
    names = {**_NAMES, **asked, "page": await _page()}
    # The text on the page is what is asked.
    await cast("Coroutine[Any, Any, object]", eval(question, {}, names))  # noqa: S307 - our own
    return layer.sent


async def _page() -> object:
    """Return a page that has a next one; a position is the same everywhere."""
    memory = MemoryAdapter("memory")
    await memory.open()
    await memory.execute(Ensure((collection_of(Patient), collection_of(Reading))))
    guarded = build_guard(memory)
    await Repository(Patient, guarded).add(Patient(id=_ANN, name="Ann"))
    readings = Repository(Reading, guarded)
    await readings.add_many(
        Reading(id=UUID(int=n), patient_id=_ANN, kind="k", at=_START, value=Decimal(n))
        for n in (1, 2)
    )
    return await readings.find(order=["-value"], limit=1)


def page() -> str:
    """Return the page, in Markdown."""
    return "\n".join(asyncio.run(_lines())) + "\n"


async def _lines() -> list[str]:
    lines = [_HEAD]
    for entity in (Patient, Reading):
        lines += [*_fenced(inspect.getsource(entity).rstrip()), ""]
    for subject, questions in QUESTIONS.items():
        lines += [f"## {subject}", ""]
        for question in questions:
            lines += [f"### `{question}`", ""]
            found = [("\n".join(await statements(each, question)), each) for each in STORES]
            for text, each in groupby(found, key=lambda pair: pair[0]):
                stores = ", ".join(name for _, name in each)
                lines += [f"{stores}:", "", *_fenced(text), ""]
    return lines[:-1]


def _short(sql: str) -> str:
    """Return a statement without the list of all columns, and spaces at the ends of lines."""
    for entity in (Patient, Reading):
        collection = collection_of(entity)
        for mark in '"`':
            quoted = [f"{mark}{name}{mark}" for name in collection.names]
            for table in (f"{mark}{collection.name}{mark}", "_ranked"):
                named = [f"{table}.{name}" for name in quoted]
                aliased = [f"{one} AS {name}" for one, name in zip(named, quoted, strict=True)]
                for columns in (named, aliased):
                    sql = sql.replace(", ".join(columns), "…")
    return "\n".join(line.rstrip() for line in sql.splitlines())


def _fenced(text: str) -> list[str]:
    return ["```text", text, "```"]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(page())
