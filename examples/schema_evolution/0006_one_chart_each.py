"""A chart was an initial and a year, which several patients share: let each have its own."""

from healthstore.schema import AddUnique, Migration, Transform, Unique


def up(row):
    shared = row["chart"].partition("-")[0]
    return row | {"chart": f"{shared}-{row['id'].hex[-12:]}"}


def down(row):
    return row | {"chart": row["chart"].partition("-")[0]}


migration = Migration(
    after="0005_shorter_codes",
    operations=[
        Transform("patients", up=up, down=down, idempotent=True),
        AddUnique("patients", Unique("chart")),
    ],
)
