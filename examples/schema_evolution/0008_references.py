"""Refer to what there is: for the stores that can hold references."""

from healthstore.schema import AddIndex, AddReference, Index, Migration, Reference

migration = Migration(
    after="0007_encounters",
    operations=[
        AddIndex("measurements", Index("encounter_id")),
        AddReference("encounters", Reference("patient_id", "patients", "cascade")),
        AddReference("measurements", Reference("patient_id", "patients", "cascade")),
        AddReference("measurements", Reference("encounter_id", "encounters", "cascade")),
    ],
)
