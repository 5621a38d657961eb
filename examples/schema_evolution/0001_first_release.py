"""The first release: patients, and what was observed of them."""

from healthstore.schema import (
    CreateCollection,
    Date,
    Enum,
    Index,
    Instant,
    Json,
    Migration,
    Number,
    Text,
    Uuid,
    collection,
)

migration = Migration(
    operations=[
        CreateCollection(
            collection(
                "patients",
                {
                    "created_at": Instant(),
                    "updated_at": Instant(),
                    "chart": Text(40),
                    "name": Text(120),
                    "gender": Enum("female", "male", "other", "unknown"),
                    "birth_date": Date(),
                    "birth_place": Json(),
                },
                indexes=[Index("name")],
            )
        ),
        CreateCollection(
            collection(
                "observations",
                {
                    "created_at": Instant(),
                    "updated_at": Instant(),
                    "patient_id": Uuid(),
                    "encounter_id": Uuid(),
                    "code": Text(60),
                    "display": Text(200),
                    "effective_at": Instant(),
                    "value_num": Number(28, 20, nullable=True),
                    "unit": Text(60, nullable=True),
                },
                indexes=[Index("patient_id", "code", "-effective_at")],
            )
        ),
    ],
)
