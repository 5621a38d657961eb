"""What fields usually hold, by their names: texts, numbers and days that look like real ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from random import Random
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from faker import Faker

__all__ = (
    "FIRST_MOMENT",
    "NOW",
    "NUMBERS",
    "PAST_DAYS",
    "TEXTS",
    "by_name",
    "email_address",
    "fixed_dates",
)

T = TypeVar("T")
Text: TypeAlias = "Callable[[Random, Faker], str]"

# Fixed: with the present moment in them, the same seed would give other entities tomorrow.
NOW = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC is added where an aware instant is wanted
FIRST_MOMENT = datetime(2024, 1, 1)  # noqa: DTZ001 - as above


def _drawn(method: str) -> Text:
    def text(_: Random, faker: Faker) -> str:
        return str(getattr(faker, method)()).replace("\n", ", ")

    return text


def _one_of(*texts: str) -> Text:
    return lambda random, _: random.choice(texts)


def email_address(random: Random, faker: Faker) -> str:
    """Return an address of a domain that nobody has."""
    name = f"{faker.first_name()}.{faker.last_name()}".lower().replace(" ", "")
    return f"{name}{random.randrange(1, 100)}@example.{random.choice(('org', 'com', 'net'))}"


def _title(random: Random, faker: Faker) -> str:
    return str(faker.sentence(nb_words=random.randint(2, 4))).rstrip(".")


_MEDICATION = _one_of(
    *("Metformin", "Ramipril", "Ibuprofen", "Levothyroxine", "Atorvastatin", "Salbutamol"),
    *("Omeprazole", "Sertraline", "Amlodipine", "Paracetamol", "Bisoprolol", "Vitamin D3"),
)
_DOSE = _one_of("5 mg", "10 mg", "20 mg", "50 mg", "100 mg", "250 mg", "500 mg", "1 tablet")
_CONDITION = _one_of(
    *("hypertension", "type 2 diabetes", "asthma", "migraine", "hypothyroidism"),
    *("seasonal allergy", "lower back pain", "insomnia", "anaemia", "eczema"),
)
_SENTENCE = _drawn("sentence")
_PERSON = _drawn("name")

# The last words of a field's name, or of its entity's and its own: `medication_name`.
TEXTS: Mapping[str, Text] = {
    "email": email_address,
    "email_address": email_address,
    "first_name": _drawn("first_name"),
    "given_name": _drawn("first_name"),
    "last_name": _drawn("last_name"),
    "family_name": _drawn("last_name"),
    "surname": _drawn("last_name"),
    "name": _PERSON,
    "full_name": _PERSON,
    "author": _PERSON,
    "user_name": _drawn("user_name"),
    "username": _drawn("user_name"),
    "login": _drawn("user_name"),
    "phone": _drawn("phone_number"),
    "phone_number": _drawn("phone_number"),
    "mobile": _drawn("phone_number"),
    "city": _drawn("city"),
    "country": _drawn("country"),
    "state": _drawn("state"),
    "street": _drawn("street_address"),
    "address": _drawn("address"),
    "postcode": _drawn("postcode"),
    "zip": _drawn("postcode"),
    "company": _drawn("company"),
    "job": _drawn("job"),
    "url": _drawn("url"),
    "website": _drawn("url"),
    "color": _drawn("color_name"),
    "language": _drawn("language_name"),
    "locale": _drawn("locale"),
    "timezone": _drawn("timezone"),
    "time_zone": _drawn("timezone"),
    "title": _title,
    "subject": _title,
    "device_name": _one_of("watch", "phone", "scale", "ring", "chest strap"),
    "source": _one_of("manual", "watch", "phone", "import"),
    "note": _SENTENCE,
    "notes": _SENTENCE,
    "comment": _SENTENCE,
    "description": _SENTENCE,
    "content": _SENTENCE,
    "message": _SENTENCE,
    "text": _SENTENCE,
    "medication": _MEDICATION,
    "medication_name": _MEDICATION,
    "drug": _MEDICATION,
    "medicine": _MEDICATION,
    "dose": _DOSE,
    "dosage": _DOSE,
    "diagnosis": _CONDITION,
    "condition": _CONDITION,
    "condition_name": _CONDITION,
    "symptom": _one_of("headache", "fatigue", "nausea", "cough", "fever", "dizziness"),
    "blood_type": _one_of("A+", "A-", "B+", "B-", "AB+", "AB-", "0+", "0-"),
    "unit": _one_of("mg", "ml", "kg", "bpm", "mmHg", "°C", "steps"),
}

# Where most values lie, in the field's own unit.
NUMBERS: Mapping[str, tuple[float, float]] = {
    "age": (18, 95),
    "weight": (45, 120),
    "kg": (45, 120),
    "height": (145, 200),
    "cm": (145, 200),
    "heart_rate": (52, 110),
    "pulse": (52, 110),
    "bpm": (52, 110),
    "systolic": (95, 150),
    "diastolic": (60, 95),
    "steps": (500, 16_000),
    "temperature": (36, 39),
    "celsius": (36, 39),
    "glucose": (70, 160),
    "mood": (1, 10),
    "score": (1, 10),
    "rating": (1, 5),
    "level": (1, 10),
    "intensity": (1, 10),
    "quantity": (1, 10),
    "count": (0, 20),
    "price": (1, 200),
    "calories": (50, 900),
    "hours": (1, 12),
    "minutes": (5, 90),
    "year": (1940, 2025),
    "latitude": (-90, 90),
    "longitude": (-180, 180),
    "percent": (0, 100),
}

# Days that lie further back than the last two years.
PAST_DAYS: Mapping[str, tuple[date, date]] = {
    word: (date(1935, 1, 1), date(2007, 12, 31))
    for word in ("birth", "birth_date", "date_of_birth", "birthday", "born", "dob")
}


def by_name(table: Mapping[str, T], entity: str, field: str) -> T | None:
    """Return what a table has for a field: its longest name first, then only its last words."""
    words = [*re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", entity).lower().split("_"), *field.split("_")]
    names = ("_".join(words[start:]) for start in range(len(words)))
    return next((table[name] for name in names if name in table), None)


def fixed_dates(random: Random) -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield replacements for what Faker makes from the present moment, or without any sense."""

    def moment(*_: object, tzinfo: tzinfo | None = None, **__: object) -> datetime:
        seconds = int((NOW - FIRST_MOMENT).total_seconds())
        drawn = FIRST_MOMENT + timedelta(seconds=random.randrange(seconds))
        return drawn.replace(tzinfo=tzinfo)

    def day(*_: object, **__: object) -> date:
        return moment().date()

    for name in ("date_time", "date_time_between", "past_datetime", "date_time_this_decade"):
        yield name, moment
    for name in ("date_this_decade", "past_date", "date_object", "date_between"):
        yield name, day
    yield "time_object", lambda *_, **__: time(random.randrange(24), random.randrange(60))
    yield "time_delta", lambda *_, **__: timedelta(minutes=random.randrange(1, 600))
