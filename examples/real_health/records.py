"""What the example keeps: its entities, the files that hold them, and how a row becomes one."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, JsonValue

from healthstore import Digits, Entity, Index, MaxLength, Ref, Search, Searchable, Unique

# ---------------------------------------------------------------- what is kept
Exact = Annotated[Decimal, Digits(28, 20)]
Short = Annotated[str, MaxLength(60)]


class Patient(Entity, collection="patients"):
    """A (synthetic) patient; parts that vary from source to source are kept as JSON."""

    source: Short
    name: dict[str, JsonValue]
    mothers_maiden_name: str | None
    fathers_name: str | None
    gender: Literal["male", "female", "other", "unknown"]
    birth_sex: Literal["M", "F"]
    birth_date: date
    deceased_at: AwareDatetime | None
    marital_status: Short
    race: Short
    ethnicity: Short
    birth_place: dict[str, JsonValue]
    languages: list[str]
    multiple_birth: bool | int
    telecom: list[dict[str, JsonValue]]
    address: dict[str, JsonValue]
    identifiers: list[dict[str, JsonValue]]
    daly: Exact | None
    qaly: Exact | None


class Observation(
    Entity, collection="observations", indexes=[Index("patient_id", "code", "-effective_at")]
):
    """A measurement or finding; a component refers to the observation that it is part of."""

    patient_id: Annotated[UUID, Ref(Patient, on_delete="cascade")]
    encounter_id: UUID
    parent_id: Annotated[UUID, Ref("self", on_delete="set_null")] | None
    category: Short | None
    code: Short
    display: Annotated[str, MaxLength(200)]
    status: Short
    effective_at: AwareDatetime
    issued_at: AwareDatetime
    value_num: Exact | None
    unit: Short | None
    value_code: Short | None
    value_text: str | None
    source: Short


class Portion(BaseModel):
    """A usual amount of a food."""

    seq: int
    amount: Decimal
    measure: str
    gram_weight: Decimal


class Food(Entity, collection="foods"):
    """A food; its many decimals are nested, and keep their digits and zeros as they are."""

    number: Annotated[str, Unique(), MaxLength(5)]
    group_code: Short
    group: Short
    description: Annotated[str, MaxLength(200)]
    short_description: Short
    common_name: str | None
    manufacturer: str | None
    in_survey: bool
    refuse_description: str | None
    refuse_pct: int | None
    scientific_name: str | None
    factors: dict[str, Decimal | None]
    nutrients_per_100g: dict[str, Decimal | None]
    portions: list[Portion]
    langual: list[dict[str, JsonValue]]
    footnotes: list[dict[str, JsonValue]]


class Note(Entity, collection="notes", indexes=[Search("text")]):
    """What a doctor wrote of a visit; its words are searched, and its author's name in any case."""

    patient_id: UUID
    encounter_id: UUID
    type: Short
    status: Short
    written_at: AwareDatetime
    author: Annotated[str, MaxLength(100), Searchable()] | None
    text: str


class ChatSession(Entity, collection="chat_sessions", indexes=[Search("summary")]):
    """A conversation between doctor and patient, and its summary, whose words are searched."""

    session_id: Annotated[str, Unique(), MaxLength(60)]
    source: Short
    section: Short | None
    messages: list[dict[str, str | None]]
    summary: str


class Recipe(Entity, collection="recipes"):
    """A recipe; its tags are a list, and what may be anything is text."""

    slug: Annotated[str, Unique(), MaxLength(100)]
    title: Annotated[str, MaxLength(200)]
    published: date
    tags: list[str]
    author: Short | None
    prep_time: str | None
    cook_time: str | None
    servings: str | None
    ingredients: list[str]
    directions: list[str]
    body_markdown: str


# ---------------------------------------------------------------- files to entities
Row = dict[str, Any]
# Namespaces: foods have numbers, recipes names, and neither UUIDs.
_FOODS = UUID("6f1d5d0c-7a8e-5a55-9a0e-3a1f0f9f7b11")
_NOTE = ("id", "patient_id", "encounter_id", "type", "status", "written_at", "author", "text")
_RECIPES = UUID("0d6a2c3e-51c4-5b0b-8f43-6a2f6a0f9b7d")


def json_lines(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON Lines file; no decimal becomes a float."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line, parse_float=Decimal)


def csv_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file; an empty cell is None."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: value or None for name, value in row.items()}


def plain_floats(value: Any) -> Any:
    """Return JSON whose decimals are floats, for the open parts of a patient (coordinates)."""
    if isinstance(value, dict):
        return {name: plain_floats(item) for name, item in value.items()}
    return float(value) if isinstance(value, Decimal) else value


def patient(row: Row) -> Patient:
    """Read a patient."""
    return Patient.model_validate({**row, "address": plain_floats(row["address"])})


def note(row: Row) -> Note:
    """Read a note; that of a patient who is not in the sample stays, too."""
    return Note.model_validate({name: row[name] for name in _NOTE})


def food(row: Row) -> Food:
    """Read a food: its number becomes a field, and an id is made of it."""
    number = row.pop("id")
    return Food.model_validate({**row, "id": uuid5(_FOODS, number), "number": number})


def recipe(row: Row) -> Recipe:
    """Read a recipe: its name becomes a field, and an id is made of it."""
    slug, day = row.pop("id"), row.pop("date")
    return Recipe.model_validate(
        {**row, "id": uuid5(_RECIPES, slug), "slug": slug, "published": day}
    )


@dataclass(frozen=True, slots=True)
class Source:
    """A file, the entity that its rows are, and how they are read."""

    file: str
    entity: type[Entity]
    rows: Callable[[Path], Iterator[Row]]
    read: Callable[[Row], Entity]


SOURCES = (
    Source("patients.jsonl.gz", Patient, json_lines, patient),
    Source("observations.csv.gz", Observation, csv_rows, Observation.model_validate),
    Source("foods.jsonl.gz", Food, json_lines, food),
    Source("chat_sessions.jsonl.gz", ChatSession, json_lines, ChatSession.model_validate),
    Source("clinical_notes.jsonl.gz", Note, json_lines, note),
    Source("recipes.jsonl.gz", Recipe, json_lines, recipe),
)
ENTITIES = tuple(source.entity for source in SOURCES)
