"""Codes are those of LOINC, which are short: longer ones would be refused with their number."""

from healthstore.schema import ChangeField, Migration, Text

migration = Migration(
    after="0004_split_the_name",
    operations=[
        ChangeField("measurements", "code", Text(20)),
        ChangeField("measurements", "display", Text(100)),
    ],
)
