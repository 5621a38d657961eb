"""A folder of migrations that takes patients through several releases, and what they look like."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

FILES = {
    "0001_patients": '''
        """The first release."""
        from healthstore.schema import (
            Check, CreateCollection, F, Index, Integer, Migration, Text, Unique, Uuid, Reference,
            collection,
        )

        migration = Migration(operations=[
            CreateCollection(collection(
                "patients",
                {"name": Text(100), "code": Text(20, nullable=True), "visits": Integer(default=0)},
                indexes=[Index("name")],
                checks=[Check("counted", F.visits >= 0)],
            )),
            CreateCollection(collection(
                "notes",
                {"patient": Uuid(), "text": Text()},
                indexes=[Index("patient")],
                references=[Reference("patient", "patients", "cascade")],
            )),
        ])
    ''',
    "0002_add_phone": """
        from healthstore.schema import AddField, AddIndex, Index, Migration, Text

        migration = Migration(
            after="0001_patients",
            operations=[
                AddField("patients", "phone", Text(20, nullable=True)),
                AddField("patients", "ward", Text(20, default="east")),
                AddIndex("patients", Index("ward", "-name")),
            ],
        )
    """,
    "0003_split_the_name": '''
        """Split the name."""
        from healthstore.schema import AddField, AddIndex, DropField, DropIndex, Index, Migration
        from healthstore.schema import Text, Transform

        def up(row):
            first, _, last = row["name"].partition(" ")
            return row | {"first_name": first, "last_name": last}

        def down(row):
            return row | {"name": f"{row['first_name']} {row['last_name']}"}

        migration = Migration(
            after="0002_add_phone",
            operations=[
                AddField("patients", "first_name", Text(100, nullable=True)),
                AddField("patients", "last_name", Text(100, nullable=True)),
                Transform("patients", up=up, down=down, idempotent=True),
                DropIndex("patients", Index("name")),
                DropIndex("patients", Index("ward", "-name")),
                DropField("patients", "name"),
                AddIndex("patients", Index("last_name")),
            ],
        )
    ''',
    "0004_codes_are_unique": """
        from healthstore.schema import AddUnique, ChangeField, Migration, Text, Transform, Unique

        def up(row):
            return row | {"code": row["code"] or f"P{row['first_name']}"}

        def down(row):
            return row

        migration = Migration(
            after="0003_split_the_name",
            operations=[
                Transform("patients", up=up, down=down, idempotent=True),
                ChangeField("patients", "code", Text(12)),
                AddUnique("patients", Unique("code")),
            ],
        )
    """,
    "0005_other_names": """
        from healthstore.schema import Migration, RenameCollection, RenameField

        migration = Migration(
            after="0004_codes_are_unique",
            operations=[
                RenameField("patients", "visits", "contacts"),
                RenameField("patients", "code", "number"),
                RenameCollection("notes", "remarks"),
                RenameField("remarks", "text", "body"),
            ],
        )
    """,
}


def write(folder: Path, *names: str, references: bool = True) -> Path:
    """Write these files, or all of them, into a folder of the given one; return that.

    Without references there are no notes.
    """
    migrations = folder / "migrations"
    migrations.mkdir(exist_ok=True)
    for name in names or FILES:
        text = dedent(FILES[name]).lstrip()
        (migrations / f"{name}.py").write_text(text if references else _alone(text), "utf-8")
    return migrations


def _alone(text: str) -> str:
    first, created, _ = text.partition('    CreateCollection(collection(\n        "notes"')
    if created:
        return f"{first}])\n"
    return "".join(
        line
        for line in text.splitlines(keepends=True)
        if "notes" not in line and "remarks" not in line
    )
