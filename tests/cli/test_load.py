"""``load``: every row or none, from JSON Lines and CSV, plain or gzip."""

from __future__ import annotations

import asyncio
import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.commands import Run

from healthstore import DatabaseManager, Entity
from healthstore.cli.exits import Exit
from healthstore.cli.named import find_entity

LAB = """
from decimal import Decimal
from healthstore import Entity

class Lab(Entity, collection="labs"):
    doses: dict[str, Decimal]
"""
SECRET = "canary-5ecret"
STORE = "sqlite:///store.db"
GOOD = [
    ("rows.jsonl", '{"kg": 70.10, "taken_at": "2026-01-05T07:00:00.000001+02:00"}\n{"kg": null}\n'),
    ("rows.ndjson", '\n{"kg": "70.1", "taken_at": "2026-01-05T05:00:00.000001Z"}\n{}'),
    ("rows.csv", 'kg,taken_at\n70.10,2026-01-05T05:00:00.000001Z\n,""\n'),
]


def stored(name: str) -> list[Entity]:
    """Return what the store holds of an entity."""

    async def read() -> list[Entity]:
        entity = find_entity(f"clinic:{name}")
        async with DatabaseManager(STORE) as db:
            await db.initialize(find_entity("clinic:Patient"), find_entity("clinic:Weight"))
            return [each async for each in db.repository(entity).stream(order=["created_at"])]

    return asyncio.run(read())


def initialize() -> None:
    """Make the collections."""
    assert stored("Patient") == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "text"), GOOD)
def test_good_rows_are_kept_exactly(
    run: Run, folder: Path, name: str, text: str, *, packed: bool
) -> None:
    """Every form gives the same documents: exact decimals, UTC instants, and nulls."""
    initialize()
    file = folder / f"{name}{'.gz' if packed else ''}"
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    ended = run("load", file, "--entity", "clinic:Weight", "--url", STORE, "--json")
    assert ended.code == Exit.OK, ended.err
    assert (ended.data["rows"], ended.data["collection"]) == (2, "weights")
    found = [each.model_dump() for each in stored("Weight")]
    values = sorted((str(each["kg"]), str(each["taken_at"])) for each in found)
    assert values == [("70.10", "2026-01-05 05:00:00.000001+00:00"), ("None", "None")]


def test_the_collection_is_made(run: Run, folder: Path) -> None:
    """A collection that is missing is created, and JSON in a cell of CSV is read as JSON."""
    (folder / "p.csv").write_text('email,notes\na@b.example,"[1, ""x"", null]"\n', "utf-8")
    ended = run("load", "p.csv", "--entity", "clinic:Patient", "--url", STORE)
    assert ended.code == Exit.OK, ended.err
    assert "Loaded 1 rows of p.csv into patients" in ended.out
    (patient,) = stored("Patient")
    assert patient.model_dump()["notes"] == [1, "x", None]


GOOD_ROWS = "".join(f'{{"kg": {number}}}\n' for number in range(1, 6_000))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("w.jsonl", f'{GOOD_ROWS}{{"kg": "{SECRET}"}}\n', ["line 6000", "Weight.kg"]),
        ("w.jsonl", f'{GOOD_ROWS}{{"kg": 1.234}}\n', ["line 6000", "Weight.kg"]),
        ("w.jsonl", f"{GOOD_ROWS}{SECRET}\n", ["line 6000", "JSON"]),
        ("w.jsonl", f'{GOOD_ROWS}{{"kg": "NaN"}}\n', ["line 6000", "Weight.kg"]),
        (
            "w.jsonl",
            f'{GOOD_ROWS}{{"patient_id": "0190aaaa-0000-7000-8000-000000000000"}}\n',
            ["line 6000", "HS-4002"],
        ),
        ("w.jsonl", '{"taken_a": 1}\n', ["line 1", "'taken_a' is no field", "mean 'taken_at'?"]),
        ("w.jsonl", f'{{"{SECRET}": 1}}\n', ["line 1", "belongs to no field", "known fields"]),
        ("w.csv", f"kg,taken_at\n1,\n\n2,{SECRET}\n", ["line 4", "Weight.taken_at"]),
        ("w.csv", "kg,taken_at\n1,2026-01-05T05:00:00\n", ["line 2", "timezone"]),
        ("w.csv", f"kg,taken_at\n1,,{SECRET}\n", ["line 2", "3 cells under 2 columns"]),
        ("w.txt", "kg\n1\n", ["no known form", ".csv"]),
        ("w.csv.gz", "kg\n" + "1\n" * 20_000, ["cut off"]),
    ],
)
def test_a_bad_row_is_named_and_nothing_stays(
    run: Run, folder: Path, name: str, text: str, says: list[str]
) -> None:
    """The file, the line and the field are told, never the value; the store is as before."""
    initialize()
    content = text.encode()
    (folder / name).write_bytes(gzip.compress(content)[:-20] if name.endswith(".gz") else content)
    ended = run("load", name, "--entity", "clinic:Weight", "--url", STORE, "--json")
    assert ended.code == Exit.FAILURE
    assert ended.data["error"]["where"].startswith(name)
    for part in says:
        assert part in ended.err
    assert "nothing of the file" in ended.err or "line" not in ended.err
    assert SECRET not in ended.out + ended.err
    assert stored("Weight") == []


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("labs.jsonl", '{"doses": {"x": 0.5}}\n{"doses": {"x": 0.12345678901234567891}}\n', 2),
        ("labs.csv", 'doses\n"{""x"":0.5}"\n"{""x"":123456789012345678.12}"\n', 3),
    ],
)
def test_a_number_inside_json_that_a_float_would_change_is_refused(
    run: Run, folder: Path, name: str, text: str, line: int
) -> None:
    """A Decimal may stand there, which wants all digits: as a text it has them."""
    (folder / "lab.py").write_text(LAB)
    (folder / name).write_text(text)
    ended = run("load", folder / name, "--entity", "lab:Lab", "--url", STORE)
    assert ended.code != Exit.OK
    assert f"line {line}" in ended.err
    assert "more digits than a float keeps" in ended.err
    assert "as a text" in ended.err
    assert "12345678901234567" not in ended.err


def test_a_validator_is_not_quoted(run: Run, folder: Path) -> None:
    """A validator of the user's may put the value into its message; it is not shown."""
    initialize()
    (folder / "p.jsonl").write_text(f'{{"email": "{SECRET}"}}\n', "utf-8")
    ended = run("load", "p.jsonl", "--entity", "clinic:Patient", "--url", STORE)
    assert ended.code == Exit.FAILURE
    assert "refused by the entity's validator" in ended.err
    assert SECRET not in ended.err


def test_a_duplicate_is_named_and_nothing_stays(run: Run, folder: Path) -> None:
    """A row that the store refuses is told by its line as well, among thousands of good ones."""
    initialize()
    rows = [f'{{"email": "{number}@example.org"}}\n' for number in range(7_000)]
    (folder / "p.jsonl").write_text("".join([*rows, rows[123]]), "utf-8")
    ended = run("load", "p.jsonl", "--entity", "clinic:Patient", "--url", STORE)
    assert ended.code == Exit.FAILURE
    assert "line 7001" in ended.err
    assert "HS-4001" in ended.err
    assert "123@example.org" not in ended.err
    assert stored("Patient") == []


def test_rows_join_what_is_there(run: Run, folder: Path) -> None:
    """Two files may go into one collection; the numbers stay exact."""
    initialize()
    for number in (1, 2):
        (folder / "w.jsonl").write_text(f'{{"kg": {number}.5}}\n', "utf-8")
        assert run("load", "w.jsonl", "--entity", "clinic:Weight", "--url", STORE).code == Exit.OK
    found = [each.model_dump()["kg"] for each in stored("Weight")]
    assert sorted(found) == [Decimal("1.50"), Decimal("2.50")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kg,taken\n1,2026-01-05T05:00:00Z\n", ["'taken' is no field", "did you mean 'taken_at'"]),
        ("kg,colour\n1,red\n", ["'colour' is no field", "known fields: "]),
        ("kg;taken_at\n1;\n", ["separated by semicolons", "by commas"]),
        ("kg\ttaken_at\n1\t\n", ["separated by tabs"]),
    ],
)
def test_a_table_that_does_not_fit_is_told_by_its_header(
    run: Run, folder: Path, text: str, says: list[str]
) -> None:
    """An unknown column is named, and another separator recognised."""
    (folder / "w.csv").write_text(text, "utf-8")
    ended = run("load", "w.csv", "--entity", "clinic:Weight", "--url", STORE)
    assert ended.code == Exit.FAILURE
    for each in says:
        assert each in ended.err
