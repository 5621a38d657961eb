"""Call observations measurements, and their number a value."""

from healthstore.schema import Migration, RenameCollection, RenameField

migration = Migration(
    after="0002_add_phone_and_active",
    operations=[
        RenameCollection("observations", "measurements"),
        RenameField("measurements", "value_num", "value"),
    ],
)
