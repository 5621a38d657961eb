"""Loading rows from a file: every row exactly, or none and the line that is wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import count
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.unit.transfer.samples import (
    PEOPLE,
    READINGS,
    Watched,
    exact,
    identity,
    narrow,
    opened,
    person,
    stored,
    tasks,
)

from healthstore.abc import Backend, Capabilities
from healthstore.abc.registry import connect
from healthstore.abc.url import BackendURL
from healthstore.errors import (
    CapabilityError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    InvalidRequestError,
    Outcome,
    RefusedValueError,
    UnavailableError,
)
from healthstore.model.documents import canonical_document
from healthstore.model.ops import Delete, Ensure, Insert, Op
from healthstore.model.query import Operator, Test
from healthstore.model.schema import Check, Collection, Field, Unique
from healthstore.model.values import Document, FieldType, Kind
from healthstore.transfer import (
    CollectionFinished,
    Finished,
    PageMoved,
    Planned,
    TransferEvent,
    load,
)
from healthstore.transfer.pages import PAGE_ROWS

FOODS = Collection(
    "foods",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("code", FieldType(Kind.INTEGER)),
        Field("name", FieldType(Kind.TEXT, max_length=50), nullable=True),
        Field("energy", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("data", FieldType(Kind.JSON), nullable=True),
    ),
    uniques=(Unique("code"),),
)
_SECRET = "secret-7f3a"


def food(values: Mapping[str, object]) -> dict[str, Any]:
    """Return the document of a row, as a model would: text of CSV becomes numbers."""
    row: dict[str, Any] = {"version": 1, "name": None, "energy": None, "data": None, **values}
    row["code"] = int(row["code"])
    row.setdefault("id", identity(row["code"]))
    if isinstance(row["energy"], str | int):
        row["energy"] = Decimal(row["energy"])
    return row


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as JSON Lines and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return the path of a good file of 100 rows."""
    return written(tmp_path / "foods.jsonl", [{"code": code} for code in range(100)])


class Plain(Watched):
    """A store without transactions."""

    @property
    def capabilities(self) -> Capabilities:
        """Those of a single MongoDB server."""
        return Capabilities(transactions=False, references=False, serializable=False)


@pytest.fixture(params=["memory", "sqlite", "plain"])
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Lend an open store: of each embedded kind, and one without transactions."""
    if request.param == "plain":
        yield Plain(await opened("target"))
    else:
        url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/target.db"
        store = connect(BackendURL.parse(url), "target")
        await store.open()
        yield store
        await store.close()
    assert not tasks()


async def refused(path: Path, target: Backend) -> HealthstoreError:
    """Return the error of a load that must have stored nothing."""
    await target.execute(Ensure((FOODS,)))
    before = await stored(target, FOODS)
    with pytest.raises(HealthstoreError) as error:
        await load(path, FOODS, target, food)
    assert await stored(target, FOODS) == before
    assert _SECRET not in f"{error.value} {error.value.hint}"
    assert error.value.outcome is Outcome.NOT_APPLIED
    return error.value


async def test_every_row_is_stored(rows: Path, target: Backend) -> None:
    """The report counts what is in the store afterwards."""
    report = await load(rows, FOODS, target, food)
    assert report.rows == 100
    assert [row["code"] for row in await stored(target, FOODS)] == list(range(100))


async def test_what_is_canonical_is_taken_as_it_is(rows: Path, target: Backend) -> None:
    """The same documents and the same digest; their definition is checked all the same."""
    made: list[Document] = []

    def canonical(converted: Sequence[dict[str, Any]]) -> Sequence[Document]:
        documents = [canonical_document(FOODS, each) for each in converted]
        made.extend(documents)
        return documents

    report = await load(rows, FOODS, target, food, documents=canonical)
    assert exact(await stored(target, FOODS)) == exact(sorted(made[100:], key=itemgetter("id")))
    assert report.digest == (await load(rows, FOODS, await opened(), food)).digest


async def test_a_check_holds_for_what_is_canonical_too(tmp_path: Path) -> None:
    """A row that breaks it is named, and nothing is stored."""
    few = Check("few", Test("code", Operator.LE, 50))
    numbers = Collection("numbers", (*FOODS.fields[:3],), checks=(few,))
    path = written(tmp_path / "numbers.jsonl", [{"code": code} for code in range(100)])

    def canonical(values: Mapping[str, object]) -> Document:
        code = int(str(values["code"]))
        return canonical_document(numbers, {"id": identity(code), "version": 1, "code": code})

    store = await opened()
    with pytest.raises(RefusedValueError, match="line 52: the check 'few' does not hold"):
        await load(path, numbers, store, canonical, documents=list)
    await store.execute(Ensure((numbers,)))
    assert await stored(store, numbers) == []


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", ["foods.csv", "foods.jsonl", "foods.ndjson", "foods.json"])
async def test_every_form_gives_the_same_documents(tmp_path: Path, name: str, packed: str) -> None:
    """CSV and JSON Lines, plain and compressed: a blank is null, and a number exact."""
    if name.endswith("csv"):
        text = (
            '\ufeffcode,name,energy\n1,"Apple, ""red""",0.1000\n\n2,,\n3,"two\nlines",12345.6789\n'
        )
    else:
        text = (
            '\ufeff{"code": 1, "name": "Apple, \\"red\\"", "energy": 0.1000}\n \n'
            '{"code": 2, "name": null}\n'
            '{"code": 3, "name": "two\\nlines", "energy": 12345.6789}'
        )
    path = tmp_path / f"{name}{packed}"
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)
    store = await opened()
    await load(path, FOODS, store, food)
    assert [(row["name"], str(row["energy"])) for row in await stored(store, FOODS)] == [
        ('Apple, "red"', "0.1000"),
        (None, "None"),
        ("two\nlines", "12345.6789"),
    ]


async def test_a_compressed_file_is_found_out(tmp_path: Path) -> None:
    """What is compressed is unpacked, whatever its name says."""
    (tmp_path / "foods.jsonl").write_bytes(gzip.compress(b'{"code": 1}\n'))
    assert (await load(tmp_path / "foods.jsonl", FOODS, await opened(), food)).rows == 1


async def test_numbers_of_json_stay_what_they_are(tmp_path: Path) -> None:
    """A decimal field gets all digits of the text; numbers inside JSON stay floats and ints."""
    text = '{"code": 1, "energy": 12345678.1234, "data": {"a": 1.10, "b": [2.0, 3]}}'
    (tmp_path / "foods.jsonl").write_text(text)
    seen: list[object] = []

    def convert(values: Mapping[str, object]) -> dict[str, Any]:
        seen.append(values["energy"])
        return food(values)

    store = await opened()
    await load(tmp_path / "foods.jsonl", FOODS, store, convert)
    assert seen[0] == Decimal("12345678.1234")
    assert repr((await stored(store, FOODS))[0]["data"]) == "{'a': 1.1, 'b': [2.0, 3]}"


@pytest.mark.parametrize(("written", "value"), [("9007199254740993.0", 2**53 + 1), ("9e2", 900)])
async def test_a_whole_number_is_read_exactly_however_it_is_written(
    tmp_path: Path, written: str, value: int
) -> None:
    """With a point or an exponent, and beyond what a float holds."""
    (tmp_path / "foods.jsonl").write_text(f'{{"code": {written}}}')
    store = await opened()
    await load(tmp_path / "foods.jsonl", FOODS, store, food)
    assert [each["code"] for each in await stored(store, FOODS)] == [value]


def opened_files() -> set[Path]:
    """Return the files that this process has open."""
    found: set[Path] = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own
            found.add(each.readlink())
    return found


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{"code": 1}\n{"code": 2', 2, "no JSON object"),
        ('{"code": 1}\n\n[3]\n', 3, "no JSON object"),
        ('{"code": ' + "1" * 100_000 + "}", 1, "number beyond those of 64-bit floats"),
        ('{"code": 1, "data": [1e999]}', 1, "number beyond those of 64-bit floats"),
        ('{"code": 1, "data": [NaN]}', 1, "NaN or infinity"),
        ('{"code": 1, "data": [-Infinity]}', 1, "NaN or infinity"),
        ('{"code": 1, "data": {"\\ud800": 1}}', 1, "lone surrogate"),
        ('{"code": 1, "data": ' + "[" * 5_000 + "]" * 5_000 + "}", 1, "nested too deep"),
        ('{"code": 1}\n{"code": "' + _SECRET + '"}', 2, r"cannot be converted \(ValueError\)"),
        ('{"name": "' + _SECRET + '"}', 1, r"cannot be converted \(KeyError\)"),
        ('{"code": 1, "energy": 1.23456}', 1, "does not fit"),
        ('{"code": 1, "energy": "NaN"}', 1, "NaN"),
        ('{"code": 1, "name": "a\\u0000b"}', 1, "U\\+0000"),
        ('{"code": 1, "name": "' + "x" * 51 + '"}', 1, "51 characters"),
        ('{"code": 9223372036854775808}', 1, "64-bit"),
        ('{"code": 1, "data": {"a": [1, 0.1234567890123456789]}}', 1, "more digits than a float"),
        ('{"code": 1, "data": 1e-400}', 1, "more digits than a float"),
        ('{"code": 1, "data": [1e999999999999999999999]}', 1, "beyond those of 64-bit"),
        ('{"code": 1, "version": null}', 1, "must have a value"),
        ('{"code": 1}\n{"code": 2, "name": "' + _SECRET + '", "name": "b"}', 2, "one name"),
        (
            '{"code": 1, "data": {"a": [{"' + _SECRET + '": 1, "' + _SECRET + '": 2}]}}',
            1,
            "one name",
        ),
        ('{"code": 1, "nam": "' + _SECRET + '"}', 1, "no field 'nam'"),
    ],
)
async def test_a_bad_row_is_named_before_anything_is_written(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    """The error has the line, the reason and never the value; the store was not touched."""
    path = tmp_path / "foods.jsonl"
    path.write_text(text, "utf-8")
    target = Watched(await opened())
    with pytest.raises(RefusedValueError, match=says) as error:
        await load(path, FOODS, target, food)
    assert error.value.message.startswith(f"line {line}: ")
    assert error.value.hint.endswith("; nothing of the file was stored")
    assert _SECRET not in str(error.value)
    assert not target.seen
    # The error holds the frames of the load, so that nothing is closed by being forgotten.
    assert path not in opened_files()


@pytest.mark.parametrize(
    ("raw", "line", "says"),
    [
        (b"code,name\n1,a\n2\n", 3, "1 cells under 2 columns"),
        (b"code,name\n1,a\n2,b,c\n", 3, "3 cells under 2 columns"),
        (b'code,name\n1,"a\nb"\n2,b,c\n', 4, "3 cells under 2 columns"),
        (b'code,name\n1,"a\n', 2, "no CSV"),
        (b"code,code\n1,1\n", 1, "a column twice"),
        (b"", 1, "names no column"),
        (b"code,name\n1,\xff\n", 1, "no UTF-8"),
        (b"code,name\n1," + b"x" * 200_000 + b"\n", 2, "very long cell"),
    ],
)
async def test_a_bad_line_of_csv_is_named(tmp_path: Path, raw: bytes, line: int, says: str) -> None:
    """A table with ragged rows or broken quotes is refused, with the line."""
    (tmp_path / "foods.csv").write_bytes(raw)
    with pytest.raises(RefusedValueError, match=says) as error:
        await load(tmp_path / "foods.csv", FOODS, await opened(), food)
    assert error.value.message.startswith(f"line {line}")


@pytest.mark.parametrize("text", ["name\nAnn\n\nBob\n", 'name\nAnn\n""\nBob\n'])
async def test_an_empty_line_under_one_column_is_a_row(tmp_path: Path, text: str) -> None:
    """Nothing else could write one whose only cell is blank: it is kept, or refused by its line."""
    (tmp_path / "foods.csv").write_text(text)
    codes = count()

    def convert(values: Mapping[str, object]) -> dict[str, Any]:
        return food({"code": next(codes), **values})

    store = await opened()
    assert (await load(tmp_path / "foods.csv", FOODS, store, convert)).rows == 3
    assert [row["name"] for row in await stored(store, FOODS)] == ["Ann", None, "Bob"]
    (tmp_path / "foods.csv").write_text("code\n1\n\n2\n")
    with pytest.raises(RefusedValueError, match="line 3"):
        await load(tmp_path / "foods.csv", FOODS, store, food)


async def test_a_check_of_the_collection_is_named(tmp_path: Path) -> None:
    """A row that breaks a check is found before anything is written."""
    path = written(tmp_path / "readings.jsonl", [{"pulse": 500}])

    def convert(values: Mapping[str, object]) -> dict[str, object]:
        parts = {"weight": None, "taken": None, "note": None, "person": identity(1)}
        return {"id": identity(2), "version": 1, **parts, **values}

    with pytest.raises(RefusedValueError, match="line 1: the check 'pulse_is_human'"):
        await load(path, READINGS, await opened(), convert)


async def test_a_row_too_large_is_named_before_anything_is_written(tmp_path: Path) -> None:
    """What the target keeps at most holds for the rows of a file."""
    file = tmp_path / "foods.jsonl"
    rows = [{"code": at, "data": [1] * size} for at, size in enumerate((10, 100, 10))]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    target = Watched(await narrow(800))
    with pytest.raises(RefusedValueError, match="line 2: a document takes more than 800 bytes"):
        await load(file, FOODS, target, food)
    assert target.seen == []
    assert (await load(file, FOODS, await narrow(2_000), food)).rows == 3


async def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file, an unknown form and a damaged archive are refused."""
    (tmp_path / "foods.xml").write_text("<a/>")
    whole = gzip.compress(b'{"code": 1}\n' * 100)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 255
    (tmp_path / "broken.jsonl.gz").write_bytes(broken)
    for name, says in (
        ("missing.csv", "No such file"),
        ("foods.xml", "no known form"),
        ("cut.jsonl.gz", "damaged or cut off"),
    ):
        with pytest.raises(InvalidRequestError, match=says):
            await load(tmp_path / name, FOODS, await opened(), food)
    with pytest.raises(InvalidRequestError):
        await load(tmp_path / "broken.jsonl.gz", FOODS, await opened(), food)


async def test_a_key_that_comes_twice_is_named_with_both_lines(
    tmp_path: Path, target: Backend
) -> None:
    """A duplicate inside the file names its line and the line before; nothing is stored."""
    listed = [{"code": code, "id": str(UUID(int=code))} for code in range(6_000)]
    listed[5_999]["code"] = 17

    def convert(values: Mapping[str, object]) -> dict[str, Any]:
        return food({**values, "id": UUID(str(values["id"]))})

    path = written(tmp_path / "foods.jsonl", listed)
    await target.execute(Ensure((FOODS,)))
    with pytest.raises(DuplicateKeyError, match="line 6000: has the same code as line 18") as error:
        await load(path, FOODS, target, convert)
    assert error.value.fields == ("code",)
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert not await stored(target, FOODS)


async def test_a_key_that_is_stored_is_named_with_its_line(rows: Path, target: Backend) -> None:
    """A duplicate of a stored document names its line; that document stays."""
    await target.execute(Ensure((FOODS,)))
    there = food({"code": 50, "id": identity(9_000), "name": _SECRET})
    await target.execute(Insert(FOODS, (there,)))
    assert "line 51: has the code of a document that is stored already" in str(
        await refused(rows, target)
    )
    await target.execute(Delete(FOODS, (identity(9_000),)))
    await target.execute(Insert(FOODS, (food({"code": 500, "id": identity(50)}),)))
    assert "line 51: has the id of a document that is stored already" in str(
        await refused(rows, target)
    )


async def test_a_file_that_was_loaded_is_refused_whole(rows: Path, target: Backend) -> None:
    """Loading a file twice removes nothing of the first time."""
    await load(rows, FOODS, target, food)
    assert "line 1: has the " in str(await refused(rows, target))
    assert len(await stored(target, FOODS)) == 100


async def test_a_parent_that_is_missing_is_named_with_the_line(tmp_path: Path) -> None:
    """A row that refers to nothing names its line."""
    path = written(tmp_path / "readings.jsonl", [{"of": 1}, {"of": 1}, {"of": 2}])
    target = await opened("target", (PEOPLE, [person(1)]))
    number = 0

    def convert(values: Mapping[str, object]) -> dict[str, object]:
        nonlocal number
        number += 1
        parts = {"pulse": None, "weight": None, "taken": None, "note": None}
        return {
            "id": identity(100 + number),
            "version": 1,
            **parts,
            "person": identity(int(str(values["of"]))),
        }

    with pytest.raises(ForeignKeyError, match="line 3: its person refers to a document of people"):
        await load(path, READINGS, target, convert)
    assert not await stored(target, READINGS)
    with pytest.raises(CapabilityError, match="cannot enforce references"):
        await load(path, READINGS, Plain(target), convert)


async def test_what_cannot_be_removed_again_is_reported(tmp_path: Path) -> None:
    """Without transactions, a failed removal is told: how many documents may be left."""
    listed = [{"code": code} for code in range(6_000)]
    listed[5_999] = {"code": 1, "id": 1}

    def convert(values: Mapping[str, object]) -> dict[str, Any]:
        return food({**values, "id": identity(7_000)} if "id" in values else values)

    target = Plain(await opened("target"))

    async def fail(op: Op[object]) -> None:
        if isinstance(op, Delete):
            raise UnavailableError("gone")

    target.before = fail
    with pytest.raises(DuplicateKeyError, match="could not be removed again") as error:
        await load(written(tmp_path / "foods.jsonl", listed), FOODS, target, convert)
    assert error.value.outcome is Outcome.UNKNOWN
    assert "5000 documents" in error.value.hint
    assert not tasks()


@pytest.mark.parametrize("kind", [Plain, Watched])
async def test_a_cancelled_load_stores_nothing(tmp_path: Path, kind: type[Watched]) -> None:
    """Cancelled half-way, everything is removed again, and no task is left."""
    path = written(tmp_path / "foods.jsonl", [{"code": code} for code in range(12_000)])
    target = kind(await opened("target"))
    running: asyncio.Task[object]

    def stop(event: TransferEvent) -> None:
        if getattr(event, "stage", None) == "copy" and getattr(event, "done", 0) > 5_000:
            running.cancel()

    running = asyncio.ensure_future(load(path, FOODS, target, food, on_event=stop))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not await stored(target, FOODS)
    assert not tasks()


async def test_events_tell_what_happens(rows: Path) -> None:
    """Where nothing can be taken back every row is checked, and counted, before one is stored."""
    events: list[TransferEvent] = []
    await load(rows, FOODS, Plain(await opened()), food, on_event=events.append)
    stages = [(each.stage, each.rows) for each in events if isinstance(each, CollectionFinished)]
    assert stages == [("check", 100), ("copy", 100)]
    assert Planned({"foods": 100}) in events
    assert isinstance(events[-1], Finished)


async def test_a_long_file_is_read_once_where_there_are_units(tmp_path: Path) -> None:
    """Only its first page is checked before; how much of it is read is told all the time."""
    path = written(tmp_path / "foods.jsonl", [{"code": code} for code in range(PAGE_ROWS + 2)])
    events: list[TransferEvent] = []
    await load(path, FOODS, await opened(), food, on_event=events.append)
    stages = [(each.stage, each.rows) for each in events if isinstance(each, CollectionFinished)]
    assert stages == [("check", PAGE_ROWS), ("copy", PAGE_ROWS + 2)]
    assert all(each.share for each in events if isinstance(each, PageMoved))


async def test_what_is_wrong_in_a_file_is_told_before_what_a_store_refuses(
    tmp_path: Path, target: Backend
) -> None:
    """A key that comes twice stands in the first page, a bad row in the last: the row is told."""
    codes: list[dict[str, object]] = [{"code": code} for code in range(2 * PAGE_ROWS)]
    codes[1] = {"code": 0}
    twice = await refused(written(tmp_path / "twice.jsonl", codes), target)
    assert isinstance(twice, DuplicateKeyError)
    codes[-1] = {"code": "x"}
    both = await refused(written(tmp_path / "both.jsonl", codes), target)
    assert isinstance(both, RefusedValueError)
    assert both.message.startswith(f"line {2 * PAGE_ROWS}: ")


async def test_a_file_of_something_else_makes_no_collection(tmp_path: Path) -> None:
    """Its first row is refused, and the store is as it was."""
    target = Watched(await opened())
    with pytest.raises(RefusedValueError, match="line 1"):
        await load(written(tmp_path / "f.jsonl", [{"code": "x"}]), FOODS, target, food)
    assert target.seen == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("f.jsonl.gz", b"[" * 40_000_000, "line 1: begins a row of more than"),
        ("f.csv.gz", b"code,name\n1," + b"," * 40_000_000, "line 2: begins a row of more than"),
        (
            "f.csv.gz",
            b"code,name\n1" + (b',"' + b"x" * 1_000 + b'\n"') * 20_000,
            "line 2: begins a row of more than",
        ),
        ("f.jsonl.gz", b"\n" * 40_000_000, "follows 100,000 empty lines"),
        ("f.csv.gz", b"code,name\n" + b"\n" * 40_000_000, "follows 100,000 empty lines"),
    ],
)
async def test_a_small_file_that_stands_for_a_huge_one_is_refused(
    tmp_path: Path, name: str, text: bytes, says: str
) -> None:
    """What is held of a row is bounded, and so is what passes unseen."""
    file = tmp_path / name
    file.write_bytes(gzip.compress(text, 1))
    del text
    target = await opened("target")
    tracemalloc.start()
    try:
        with pytest.raises(RefusedValueError, match=says):
            await load(file, FOODS, target, food)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * 1024 * 1024


async def test_a_pipe_is_no_file_of_rows(tmp_path: Path) -> None:
    """It is read more than once."""
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(InvalidRequestError, match="a pipe or a device"):
        await load(pipe, FOODS, await opened("target"), food)


@pytest.mark.parametrize("packed", [False, True])
async def test_events_tell_how_much_of_the_file_is_read(tmp_path: Path, *, packed: bool) -> None:
    """How many rows there are is not known at first, how large the file is, is."""
    text = b"".join(b'{"code": %d, "name": "%032x"}\n' % (n, n * 7**20) for n in range(40_000))
    file = tmp_path / f"f.jsonl{'.gz' if packed else ''}"
    file.write_bytes(gzip.compress(text) if packed else text)
    seen: list[TransferEvent] = []
    await load(file, FOODS, await opened("target"), food, on_event=seen.append)
    shares = [each.share for each in seen if isinstance(each, PageMoved) and each.total is None]
    assert len(shares) > 3
    assert all(each is not None and 0 < each <= 1 for each in shares)
    assert shares == sorted(shares, key=lambda share: share or 0)
    assert shares[-1] == 1
    assert packed or shares[0] != 1, "a packed file of this size is read at once"
