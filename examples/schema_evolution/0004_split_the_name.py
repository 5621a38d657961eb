"""Split the name at its first space; joined again, it is what it was."""

from healthstore.schema import (
    AddField,
    AddIndex,
    ChangeField,
    DropField,
    DropIndex,
    Index,
    Migration,
    Text,
    Transform,
)


def up(row):
    first, _, last = row["name"].partition(" ")
    return row | {"first_name": first, "last_name": last}


def down(row):
    return row | {"name": f"{row['first_name']} {row['last_name']}".strip()}


migration = Migration(
    after="0003_call_them_measurements",
    operations=[
        AddField("patients", "first_name", Text(120, nullable=True)),
        AddField("patients", "last_name", Text(120, nullable=True)),
        Transform("patients", up=up, down=down, idempotent=True),
        DropIndex("patients", Index("name")),
        DropField("patients", "name"),
        ChangeField("patients", "first_name", Text(120)),
        ChangeField("patients", "last_name", Text(120)),
        AddIndex("patients", Index("last_name", "first_name")),
    ],
)
