"""Encounters are a collection of their own, made of the measurements taken in each."""

from healthstore.schema import (
    CreateCollection,
    Index,
    Instant,
    Integer,
    Migration,
    Run,
    Uuid,
    collection,
)


async def up(documents):
    found = {}
    async for row in documents.rows("measurements"):
        new = {"patient_id": row["patient_id"], "began_at": row["effective_at"], "taken": 0}
        each = found.setdefault(row["encounter_id"], new)
        each["began_at"] = min(each["began_at"], row["effective_at"])
        each["taken"] += 1
    there = {row["id"] async for row in documents.rows("encounters")}  # by one that was cut short
    for identity in found.keys() - there:
        each = found[identity]
        times = {"created_at": each["began_at"], "updated_at": each["began_at"]}
        await documents.add("encounters", {"id": identity, **each, **times})


async def down(documents):
    """Leave it all to what drops the collection."""


migration = Migration(
    after="0006_one_chart_each",
    operations=[
        CreateCollection(
            collection(
                "encounters",
                {
                    "created_at": Instant(),
                    "updated_at": Instant(),
                    "patient_id": Uuid(),
                    "began_at": Instant(),
                    "taken": Integer(),
                },
                indexes=[Index("patient_id", "began_at")],
            )
        ),
        Run(up, down, idempotent=True),
    ],
)
