"""Questions about the records, as a health service asks them; each answer is some lines of text.

A store answers by its own means: its statements differ, and its lines may not.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeAlias

from real_health.records import ChatSession, Food, Note, Observation, Recipe

from healthstore import (
    Avg,
    Bucket,
    Count,
    CountDistinct,
    DatabaseManager,
    Entity,
    F,
    Max,
    Min,
    Percentile,
    desc,
)
from healthstore.series import rolling_mean

Rows: TypeAlias = Iterable[Mapping[str, object]]
Answers: TypeAlias = dict[str, list[str]]

BERLIN = "Europe/Berlin"
WEIGHT = "29463-7"
PRESSURE = ["55284-4", "8480-6"]  # a panel, which has no value, and its systolic part
SINCE = datetime(2011, 1, 1, tzinfo=UTC)
SHOWN = 5


async def latest_per_code(db: DatabaseManager) -> Rows:
    """Return the newest value of each code."""
    found = await db.repository(Observation).latest(
        F.value_num.not_null(), per=["code"], by="effective_at"
    )
    return told(found, "code", "value_num", "unit", "effective_at", "id")


async def daily_mean(db: DatabaseManager) -> Sequence[Mapping[str, object]]:
    """Return the mean weight of each day of Berlin's calendar."""
    return await db.repository(Observation).aggregate(
        F.code == WEIGHT,
        F.effective_at >= SINCE,
        group=[Bucket("effective_at", "day", tz=BERLIN, name="day")],
        n=Count(),
        mean=Avg("value_num"),
    )


async def weekly_mean(db: DatabaseManager) -> Rows:
    """Return the same days with the mean of the seven days that end there."""
    return rolling_mean(await daily_mean(db), "mean", at="day", days=7, tz=BERLIN)


async def p95_per_code(db: DatabaseManager) -> Rows:
    """Return the value of each code that 95 of 100 do not exceed."""
    return await db.repository(Observation).aggregate(
        F.value_num.not_null(), group=["code"], n=Count(), p95=Percentile("value_num", 0.95)
    )


async def by_unit(db: DatabaseManager) -> Rows:
    """Return how many values there are of each unit, and between what; None is a unit, too."""
    return await db.repository(Observation).aggregate(
        group=["unit"], n=Count(), low=Min("value_num"), high=Max("value_num")
    )


async def top_codes(db: DatabaseManager) -> Rows:
    """Return the ten codes that are found most often, and of how many patients."""
    return await db.repository(Observation).aggregate(
        group=["code"], order=["-n"], limit=10, n=Count(), patients=CountDistinct("patient_id")
    )


async def nulls_in_order(db: DatabaseManager) -> Rows:
    """Return blood pressures from the top, those without a value at either end."""
    observations = db.repository(Observation)
    rows: list[dict[str, object]] = []
    for place in ("first", "last"):
        rows += await observations.select(
            *("code", "value_num", "effective_at", "id"),
            where=F.code.in_(PRESSURE),
            order=[desc("value_num", nulls=place), "-effective_at"],
            limit=1_000,
        )
    return rows


async def tags_of_recipes(db: DatabaseManager) -> Rows:
    """Return recipes by their tags: with all of some, with one of some, with none at all."""
    recipes = db.repository(Recipe)
    asked = {
        "quick pasta": F.tags.has_all(["quick", "pasta"]),
        "soup without meat": F.tags.has("soup") & ~F.tags.has_any(["beef", "chicken", "pork"]),
        "six tags or more": F.tags.size() >= 6,
    }
    return [
        {"asked": name, **row}
        for name, where in asked.items()
        for row in await recipes.select("title", "tags", where=where, order=["title"])
    ]


async def parts_of_foods(db: DatabaseManager) -> Rows:
    """Return foods by what their JSON holds: by a path, by a size, by what is null or missing."""
    foods = db.repository(Food)
    first = F.portions[0]
    asked = {
        "by the cup": first["measure"] == "cup",
        "a cup first, or none": first["measure"].in_(["cup", "1 cup"]) | first.is_missing(),
        "seven portions or more": F.portions.size() >= 7,
        "fibre unknown": F.nutrients_per_100g["fiber_td_g"].is_null(),
        "no such nutrient": F.nutrients_per_100g["fibre"].is_missing(),
    }
    rows: list[dict[str, object]] = []
    for name, where in asked.items():
        found = await foods.select("number", "description", where=where, order=["number"])
        rows += [{"asked": name, "n": await foods.count(where)}, *found]
    return rows


async def words_of_notes(db: DatabaseManager) -> Rows:
    """Return notes with the most of some words, the newest first, and by a name in any case."""
    notes = db.repository(Note)
    page = await notes.search("Chronic SINUSITIS, cough", order=["-written_at"], limit=200)
    rows = list(told(page, "id", "type", "written_at"))
    named = F.author.startswith("dr. li", ignore_case=True)
    rows += await notes.select("author", where=named, order=["author"], distinct=True)
    return rows


async def words_of_chats(db: DatabaseManager) -> Rows:
    """Return chats about some words, among those of one kind."""
    page = await db.repository(ChatSession).search(
        "blood pressure medication", F.section == "GENHX", order=["session_id"], limit=100
    )
    return told(page, "session_id", "section")


QUESTIONS: Mapping[str, Callable[[DatabaseManager], Awaitable[Rows]]] = {
    "the latest value of each code": latest_per_code,
    "the mean weight of each day in Berlin": daily_mean,
    "its mean over seven days": weekly_mean,
    "the 95th percentile of each code": p95_per_code,
    "values by unit": by_unit,
    "the ten most frequent codes": top_codes,
    "blood pressure from the top, nulls first and last": nulls_in_order,
    "recipes by their tags": tags_of_recipes,
    "foods by parts of their JSON": parts_of_foods,
    "notes by their words": words_of_notes,
    "chats by their words": words_of_chats,
}


def told(found: Iterable[Entity], *names: str) -> Rows:
    """Return some attributes of entities."""
    return [{name: getattr(each, name) for name in names} for each in found]


async def ask(db: DatabaseManager) -> Answers:
    """Return the lines that the active member answers to each question."""
    return {
        title: [json.dumps(row, default=str, ensure_ascii=False) for row in await question(db)]
        for title, question in QUESTIONS.items()
    }


def require_same(answers: Mapping[str, Answers]) -> None:
    """End with the section and the stores if two stores do not answer alike, byte by byte."""
    (first, wanted), *others = answers.items()
    for title, lines in wanted.items():
        for name, found in others:
            if found[title] != lines:
                pairs = zip([*lines, ""], [*found[title], ""], strict=False)
                place = next(number for number, (one, two) in enumerate(pairs, 1) if one != two)
                raise SystemExit(f"{title}: {first} and {name} differ in line {place}")


def show(answers: Mapping[str, Answers]) -> None:
    """Print the first lines of each section, and the digest of all of them."""
    sections = next(iter(answers.values()))
    for title, lines in sections.items():
        print(f"\n{title} ({len(lines)} lines)", *lines[:SHOWN], sep="\n  ")
    whole = "\n".join(line for title, lines in sections.items() for line in (title, *lines))
    print(f"\nthe same {len(whole.encode()):,} bytes on {', '.join(answers)}:")
    print(f"sha256 {sha256(whole.encode()).hexdigest()}\n")
