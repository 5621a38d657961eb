"""Add a phone and whether the patient comes still; nothing is known of those who are there."""

from healthstore.schema import AddField, AddIndex, Boolean, Index, Migration, Text

migration = Migration(
    after="0001_first_release",
    operations=[
        AddField("patients", "phone", Text(40, nullable=True)),
        AddField("patients", "active", Boolean(default=True)),
        AddIndex("observations", Index("code", "effective_at")),
    ],
)
