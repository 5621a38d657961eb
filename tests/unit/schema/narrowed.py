"""Two releases, the second of which keeps less: what people are before and after it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID

from healthstore.abc import Backend
from healthstore.model.ops import Find, Insert
from healthstore.transfer.selection import catalog

__all__ = ("AFTER", "IDS", "add", "expected", "people", "rows", "write")

IDS = ("0001_people", "0002_shorter", "0003_other_members")
FILES = {
    IDS[0]: """
        from healthstore.schema import *

        migration = Migration(operations=[
            CreateCollection(collection("people", {
                "name": Text(100),
                "born": Integer(nullable=True),
                "price": Number(10, 4),
                "state": Enum("GONE", "HERE", "LOST"),
                "note": Text(),
            }, indexes=[Index("born")])),
        ])
    """,
    IDS[1]: """
        from decimal import Decimal
        from healthstore.schema import *

        migration = Migration(after="0001_people", operations=[
            ChangeField("people", "name", Text(10), otherwise=""),
            ChangeField("people", "born", Integer(), otherwise=1900),
            ChangeField("people", "price", Number(6, 2), otherwise=Decimal("0.01")),
            AddIndex("people", Index("name")),
        ])
    """,
    IDS[2]: """
        from healthstore.schema import *

        migration = Migration(after="0002_shorter", operations=[
            ChangeField("people", "state", Enum("HERE", "OTHER"), otherwise="OTHER"),
            ChangeField("people", "note", Text(10, nullable=True), otherwise=None),
        ])
    """,
}
AFTER = "from healthstore.schema import *\nmigration = Migration(after='0001_people', operations="

_FITTING = {
    "name": "Ann",
    "born": 1950,
    "price": Decimal("12.5000"),
    "state": "HERE",
    "note": "fine",
}
# What does not fit, and what takes its place.
_OTHERS: tuple[dict[str, tuple[Any, Any]], ...] = (
    {},
    {"name": ("Wilhelmine Luise", "")},
    {"born": (None, 1900)},
    {"price": (Decimal("12345.0000"), Decimal("0.01"))},
    {"price": (Decimal("12.5050"), Decimal("0.01"))},
    {"state": ("GONE", "OTHER"), "note": ("longer than that", None)},
)


def write(folder: Path, *names: str) -> Path:
    """Write these files, or all of them, into a folder of the given one; return that."""
    migrations = folder / "migrations"
    migrations.mkdir(exist_ok=True)
    for name in names or IDS:
        (migrations / f"{name}.py").write_text(dedent(FILES[name]).lstrip(), "utf-8")
    return migrations


def people(number: int = len(_OTHERS)) -> list[dict[str, Any]]:
    """Return so many people of the first release, one of each kind after the other."""
    return [
        {
            "id": UUID(int=at + 1),
            "version": 1,
            **_FITTING,
            **{name: was for name, (was, _) in _OTHERS[at % len(_OTHERS)].items()},
        }
        for at in range(number)
    ]


def expected(number: int = len(_OTHERS)) -> list[dict[str, Any]]:
    """Return what they are after the last release; who changed has another version."""
    made: list[dict[str, Any]] = []
    for at, each in enumerate(people(number)):
        new = {name: now for name, (_, now) in _OTHERS[at % len(_OTHERS)].items()}
        made.append({**each, **new, "version": 2 if new else 1})
    return made


async def add(store: Backend, documents: list[dict[str, Any]]) -> None:
    """Add people as they are stored now."""
    definition = (await catalog(store))["people"]
    await store.execute(Insert(definition, tuple(documents), atomic=False))


async def rows(store: Backend, name: str = "people") -> list[dict[str, Any]]:
    """Return the people, as the store's own definition reads them."""
    definition = (await catalog(store))[name]
    return list(await store.execute(Find(definition, limit=10_000)))
