"""Backup and restore: all of it, as it was, or a clear refusal and an untouched store."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.transfer.samples import (
    EVERYTHING,
    PEOPLE,
    READINGS,
    Watched,
    everything,
    exact,
    identity,
    narrow,
    opened,
    person,
    reading,
    stored,
    tasks,
)

import healthstore.transfer.writer as writer_module
from healthstore.abc import Backend
from healthstore.errors import (
    BackupCorruptError,
    BackupError,
    ConfigurationError,
    IntegrityError,
    InvalidRequestError,
    UnavailableError,
    VerificationError,
)
from healthstore.model.ops import Ensure, Find, Insert, Op, Patch
from healthstore.model.values import Document
from healthstore.testing.strategies import documents
from healthstore.transfer import (
    CollectionFinished,
    Consistency,
    Finished,
    PageMoved,
    Planned,
    TransferEvent,
    backup,
    restore,
    verify,
)


async def clinic(readings: int = 200) -> Backend:
    """Return a store with documents of three collections, the last one empty."""
    people = [person(number, mentor=20 - number) for number in range(21)]
    rows = [reading(number, of=number % 20) for number in range(readings)]
    return await opened("clinic", (PEOPLE, people), (READINGS, rows), (EVERYTHING, []))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return the path of a backup that is there."""
    await backup(await clinic(), tmp_path / "backup.json")
    return tmp_path / "backup.json"


R = TypeVar("R")


def content(path: Path) -> bytes:
    """Return the bytes of a file."""
    return path.read_bytes()


def put(path: Path, data: bytes) -> None:
    """Replace the bytes of a file."""
    path.write_bytes(data)


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def listed(path: Path) -> list[str]:
    """Return the names in a directory."""
    return [each.name for each in path.iterdir()]


async def refused(path: Path) -> BackupError:
    """Return the error of a restore, after checking that the target was not touched."""
    target = Watched(await opened("target"))
    with pytest.raises(BackupError) as error:
        await restore(path, target)
    assert not target.seen
    assert not tasks()
    return error.value


async def corrupt(path: Path) -> str:
    """Return the text of the error of a restore, which must be BackupCorruptError."""
    error = await refused(path)
    assert isinstance(error, BackupCorruptError), error
    return str(error)


# --- there and back --------------------------------------------------------------------------


async def test_a_backup_restores_to_an_equal_store(path: Path) -> None:
    """Every collection comes back, empty ones and forward references too."""
    target = await opened("target")
    report = await restore(path, target)
    assert report.rows == 221
    assert report.consistency is Consistency.SNAPSHOT
    assert (await verify(await clinic(), target)).equal
    assert [each.collection for each in report.collections] == ["everything", "people", "readings"]


@given(st.lists(documents(EVERYTHING), max_size=12, unique_by=lambda row: row["id"]))
@settings(deadline=None, max_examples=40)
async def test_generated_documents_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Document]
) -> None:
    """Values of every kind, at their edges, survive the file; so does their digest."""
    path = tmp_path_factory.mktemp("backup") / "backup.json"
    source, target = await opened("source", (EVERYTHING, rows)), await opened("target")
    written, read = await backup(source, path), await restore(path, target)
    assert written.collections[0].digest == read.collections[0].digest
    assert exact(await stored(target, EVERYTHING)) == exact(await stored(source, EVERYTHING))


async def test_some_collections_can_be_restored(path: Path) -> None:
    """Collections are chosen by name; an unknown name is refused with a suggestion."""
    target = await opened("target")
    report = await restore(path, target, ["people"])
    assert [each.collection for each in report.collections] == ["people"]
    assert len(await stored(target, PEOPLE)) == 21
    with pytest.raises(ConfigurationError, match="did you mean 'readings'"):
        await restore(path, await opened("other"), ["readngs"])


async def test_some_collections_can_be_backed_up(tmp_path: Path) -> None:
    """Only the collections that are named are in the file."""
    report = await backup(await clinic(), tmp_path / "people.json", ["people"])
    assert report.rows == 21
    assert list(json.loads(content(tmp_path / "people.json"))["entities"]) == ["people"]
    with pytest.raises(ConfigurationError, match="did you mean 'people'"):
        await backup(await clinic(), tmp_path / "other.json", ["poeple"])
    assert listed(tmp_path) == ["people.json"]


async def test_a_target_with_documents_is_refused(path: Path) -> None:
    """A backup is never mixed with what is there."""
    target = Watched(await opened("target", (PEOPLE, [person(900)])))
    with pytest.raises(IntegrityError, match="already holds documents of people"):
        await restore(path, target)
    assert not target.writes


async def test_a_restore_that_fails_says_what_the_target_holds(path: Path) -> None:
    """An error half-way tells how many documents were written."""
    target = Watched(await opened("target"))

    async def fail(op: Op[object]) -> None:
        if isinstance(op, Insert) and op.collection == READINGS:
            raise UnavailableError("gone")

    target.before = fail
    with pytest.raises(UnavailableError, match="21 documents of this transfer are in target"):
        await restore(path, target)
    assert not tasks()


async def test_events_tell_what_happens(tmp_path: Path) -> None:
    """A backup copies, a restore checks, copies and verifies: each stage is reported."""
    events: list[TransferEvent] = []
    await backup(await clinic(), tmp_path / "backup.json", on_event=events.append)
    assert events[0] == Planned({"everything": 0, "people": 21, "readings": 200})
    assert isinstance(events[-1], Finished)
    events.clear()
    await restore(tmp_path / "backup.json", await opened("target"), on_event=events.append)
    rows = {
        stage: sum(
            each.rows for each in events if isinstance(each, PageMoved) and each.stage == stage
        )
        for stage in ("check", "copy", "verify")
    }
    assert rows == {"check": 221, "copy": 221, "verify": 221}
    ended = [each.collection for each in events if isinstance(each, CollectionFinished)]
    assert ended == ["people", "readings", *["everything", "people", "readings"] * 2]


# --- the file --------------------------------------------------------------------------------


async def test_the_file_is_json_with_one_document_on_a_line(path: Path) -> None:
    """Any JSON tool reads it; counts, digests and SHA-256 come last."""
    raw = content(path)
    whole = json.loads(raw)
    lines = raw.splitlines(keepends=True)
    assert whole["format"] == "healthstore.backup"
    assert whole["header"]["encoding"] == "hs-ejson/1"
    assert whole["header"]["snapshot"]["consistency"] == "snapshot"
    assert whole["footer"]["counts"] == {"everything": 0, "people": 21, "readings": 200}
    assert whole["footer"]["sha256"] == hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    assert lines[2] == b'"entities":{\n'
    assert sum(line.startswith(b'{"id":') for line in lines) == 221
    assert list(whole["schema"]) == list(whole["entities"]) == ["everything", "people", "readings"]


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    """Health data is not readable by other users of the machine."""
    assert mode(path) == 0o600


async def test_a_backup_replaces_an_older_one_at_once(path: Path) -> None:
    """The old file is there until the new one is complete, and no other file stays."""
    await backup(await clinic(readings=3), path)
    assert (await restore(path, await opened("target"))).rows == 24
    assert listed(path.parent) == ["backup.json"]


async def test_the_backup_is_of_one_moment(tmp_path: Path) -> None:
    """A writer during the backup is not seen."""
    inner = await clinic()
    source = Watched(inner)
    path = tmp_path / "backup.json"
    insert = Insert(READINGS, (reading(9_000),))
    writing: list[asyncio.Task[int]] = []

    def write(event: TransferEvent) -> None:
        if isinstance(event, CollectionFinished) and not writing:
            writing.append(asyncio.ensure_future(inner.execute(insert)))

    before = await stored(inner, READINGS)
    await backup(source, path, on_event=write)
    assert len(await stored(inner, READINGS)) == len(before) + 1
    target = await opened("target")
    await restore(path, target)
    assert await stored(target, READINGS) == before


@pytest.mark.parametrize("failing", ["read", "write", "fsync", "replace"])
async def test_a_failed_backup_leaves_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Whatever fails, the error is ours, the old file is unchanged and nothing else stays."""
    old = content(path)
    source = Watched(await clinic())

    async def gone(op: Op[object]) -> None:
        if isinstance(op, Find) and op.collection == READINGS:
            raise UnavailableError("gone")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    expected: type[Exception] = BackupError
    if failing == "read":
        monkeypatch.setattr(Watched, "over", _over)
        source.before, expected = gone, UnavailableError
    elif failing == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(writer_module.os, failing, full)
    with pytest.raises(expected) as error:
        await backup(source, path)
    monkeypatch.undo()
    if expected is BackupError:
        assert "No space left on device" in str(error.value)
    assert content(path) == old
    assert listed(path.parent) == ["backup.json"]
    assert not tasks()


def _over(layer: Watched, unit: object) -> Watched:
    laid = Watched(unit)  # type: ignore[arg-type]  # a unit, as layers are laid over it
    laid.seen, laid.before = layer.seen, layer.before
    return laid


@pytest.mark.parametrize("step", range(12))
async def test_a_cancelled_backup_leaves_the_old_one(path: Path, step: int) -> None:
    """Wherever it is cancelled, the old file stays or the new one is complete; nothing else is there."""
    old = content(path)
    count = 0
    running: asyncio.Task[object]

    def stop(event: TransferEvent) -> None:
        nonlocal count
        if count == step:
            running.cancel()
        count += 1

    running = asyncio.ensure_future(backup(await clinic(readings=3_000), path, on_event=stop))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert content(path) == old
    assert listed(path.parent) == ["backup.json"]
    assert not tasks()


async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error says where the file cannot be written."""
    with pytest.raises(BackupError, match="No such file or directory") as error:
        await backup(await clinic(), tmp_path / "nowhere" / "backup.json")
    assert "nowhere" in error.value.hint
    with pytest.raises(BackupError, match="is a directory"):
        await backup(await clinic(), tmp_path)
    for wrong in ("a\0b", None):
        with pytest.raises(InvalidRequestError, match="is no path"):
            await backup(await clinic(), wrong)  # type: ignore[arg-type] - the mistake is the test


async def test_only_a_file_is_ever_replaced(path: Path) -> None:
    """A link stays and leads to the backup; a pipe or a device is refused."""
    link, pipe = path.with_name("latest"), path.with_name("pipe")
    old = content(path)
    link.symlink_to(path.name)
    await backup(await clinic(readings=3), link)
    assert link.is_symlink()
    assert content(path) != old
    os.mkfifo(pipe)
    with pytest.raises(BackupError, match="a device or a pipe"):
        await backup(await clinic(), pipe)
    assert pipe.is_fifo()
    assert sorted(listed(path.parent)) == ["backup.json", "latest", "pipe"]


# --- damage ----------------------------------------------------------------------------------


def _positions(size: int, count: int) -> list[int]:
    """Return positions spread over a file: both ends, and some in between, always the same."""
    step = (size - 460) // count
    middle = range(60, size - 400, step)
    return sorted({*range(0, 60, 3), *middle, *range(size - 400, size, 7), size - 1})


async def test_a_flipped_byte_anywhere_is_found(path: Path) -> None:
    """A restore refuses a file with one wrong byte, wherever it is, before it touches a store."""
    raw = content(path)
    for position in _positions(len(raw), 150):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << (position % 8)
        put(path, damaged)
        await corrupt(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda whole: whole.replace(b"\n", b"\r\n"), "CR LF"),
        (lambda whole: whole + b"\n", "something was appended"),
        (lambda whole: whole + b"more\n", "something was appended"),
        (lambda whole: whole + b"x" * (5 << 20), "something was appended"),
        (lambda whole: whole + b"}\n" * (3 << 20), "something was appended"),
        (lambda whole: whole[:-1], "cut off"),
        (lambda whole: whole[: len(whole) // 2], "cut off"),
    ],
    ids=["line ends", "an empty line", "a line", "much", "many lines", "one byte", "half"],
)
async def test_what_happened_to_a_whole_file_is_told(
    path: Path, change: Callable[[bytes], bytes], says: str
) -> None:
    """Line ends of another system, something behind the end, or a missing end: each by its name."""
    put(path, change(content(path)))
    assert says in await corrupt(path)


async def test_a_file_that_is_cut_anywhere_is_refused(path: Path) -> None:
    """A restore refuses a file that ends early, wherever."""
    raw = content(path)
    for length in _positions(len(raw), 80):
        put(path, raw[:length])
        await corrupt(path)


async def test_a_damaged_line_is_named(path: Path) -> None:
    """The error says which line is wrong, and in which field, without the value."""
    lines = content(path).splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if b"p7@example.org" in line)
    lines[number] = lines[number].replace(b"p7@example.org", b"p7@\\u0000xample")
    put(path, b"".join(lines))
    text = await corrupt(path)
    assert f"line {number + 1}: holds U+0000" in text
    assert "[people.email]" in text
    assert "p7@" not in text


def _rewritten(path: Path, change: Callable[[list[bytes]], None]) -> None:
    """Change lines, and write the SHA-256 that then is right."""
    lines = content(path).splitlines(keepends=True)
    footer = json.loads(b"{" + lines.pop())["footer"]
    change(lines)
    footer["sha256"] = hashlib.sha256(b"".join(lines)).hexdigest()
    last = b'"footer":' + json.dumps(footer, separators=(",", ":")).encode() + b"}\n"
    put(path, b"".join([*lines, last]))


def _row(lines: list[bytes], text: bytes) -> int:
    return next(number for number, line in enumerate(lines) if text in line and b'"id"' in line)


def _changed(lines: list[bytes]) -> None:
    number = _row(lines, b"p7@example.org")
    lines[number] = lines[number].replace(b"p7@", b"x7@")


def _dropped(lines: list[bytes]) -> None:
    del lines[_row(lines, b"p7@example.org")]


def _doubled(lines: list[bytes]) -> None:
    number = _row(lines, b"p7@example.org")
    lines.insert(number, lines[number])


def _swapped(lines: list[bytes]) -> None:
    number = _row(lines, b"p7@example.org")
    lines[number], lines[number + 1] = lines[number + 1], lines[number]


def _uncomma(lines: list[bytes]) -> None:
    number = _row(lines, b"p7@example.org")
    lines[number] = lines[number].replace(b"},\n", b"}\n")


def _unknown(lines: list[bytes]) -> None:
    number = lines.index(b'"readings":[\n')
    lines[number] = b'"reedings":[\n'


def _extra(lines: list[bytes]) -> None:
    lines[-1:] = [b"],\n", b'"visits":[\n', b"]\n", b"},\n"]


def _unclosed(lines: list[bytes]) -> None:
    del lines[-2]


def _loosened(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"max_length":100', b'"max_length":200', 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_changed, "people has other documents than were written: the digest differs"),
        (_dropped, "people has 20 documents, 21 were written"),
        (_doubled, "its id is that of a line before"),
        (_swapped, "its id is that of a line before, or out of order"),
        (_uncomma, "is not what belongs there"),
        (_unknown, "is not what belongs there"),
        (_extra, "is not what belongs there"),
        (_unclosed, "is not what belongs there"),
        (_loosened, "the schema is not the one that the header states"),
    ],
)
async def test_a_change_with_a_new_checksum_is_found(
    path: Path, change: Callable[[list[bytes]], None], says: str
) -> None:
    """Somebody who repairs the SHA-256 still meets counts, digests, order and layout."""
    _rewritten(path, change)
    assert says in await corrupt(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"version":1,"header"', b'"version":2,"header"', "another version of the format"),
        (b'"hs-ejson/1"', b'"hs-ejson/2"', "another encoding"),
    ],
)
async def test_a_backup_of_another_release_is_refused(
    path: Path, old: bytes, new: bytes, says: str
) -> None:
    """An undamaged file that this release cannot read is no damaged file, and says so."""

    def change(lines: list[bytes]) -> None:
        lines[0] = lines[0].replace(old, new)

    _rewritten(path, change)
    error = await refused(path)
    assert not isinstance(error, BackupCorruptError)
    assert says in str(error)


async def test_a_backup_with_a_definition_that_is_refused_says_which(path: Path) -> None:
    """A file from a release with wider limits is whole: the error names the definition."""

    def change(lines: list[bytes]) -> None:
        lines[1] = lines[1].replace(b'"name":"note"', b'"name":"ctid"')

    _rewritten(path, change)
    error = await refused(path)
    assert not isinstance(error, BackupCorruptError)
    assert error.entity == "readings"
    assert "'ctid'" in error.message


async def test_a_backup_with_another_spelling_of_a_check_is_restored(path: Path) -> None:
    """Releases before canonical checks wrote, and signed, values as they were given."""

    def written(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def signed(schema: dict[str, object]) -> bytes:
        digests = {name: hashlib.sha256(written(each).encode()) for name, each in schema.items()}
        lines = "\n".join(f"{name} {digest.hexdigest()}" for name, digest in digests.items())
        return hashlib.sha256(lines.encode()).hexdigest().encode()

    def change(lines: list[bytes]) -> None:
        schema = json.loads(b"{" + lines[1].removesuffix(b",\n") + b"}")["schema"]
        before = signed(schema)
        rule = schema["readings"]["checks"][0]["rule"]
        rule["and"][1]["operand"] = {"$numberLong": "400"}
        text = ",".join(f"{written(name)}:{written(each)}" for name, each in schema.items())
        lines[1] = f'"schema":{{{text}}},\n'.encode()
        lines[0] = lines[0].replace(before, signed(schema))

    original = content(path)
    _rewritten(path, change)
    assert b"$numberLong" in content(path)
    assert content(path).splitlines()[0] != original.splitlines()[0]
    target = await opened("target")
    await restore(path, target)
    await target.execute(Ensure((PEOPLE, READINGS, EVERYTHING)))
    (await verify(await clinic(), target)).require()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]\n", b"hello\n", b"\x00" * 5_000])
async def test_a_file_that_is_no_backup_is_refused(path: Path, content: bytes) -> None:
    """The error says that it is no backup."""
    put(path, content)
    assert "no backup of healthstore" in await corrupt(path)


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and a directory are refused with their path."""
    assert "No such file" in str(await refused(tmp_path / "missing.json"))
    assert "Is a directory" in str(await refused(tmp_path))


async def test_a_file_that_changes_after_its_check_is_refused(path: Path) -> None:
    """What is added is held against the footer once more."""
    await backup(await clinic(readings=7_000), path)  # more than is kept of a file in memory
    raw = content(path)
    target = Watched(await opened("target"))

    async def swap(op: Op[object]) -> None:
        if len(target.seen) == 1:
            put(path, raw.replace(b'"quiet"', b'"loud!"'))

    target.before = swap
    with pytest.raises(BackupCorruptError, match="changed while it was restored"):
        await restore(path, target)


async def test_a_target_that_stores_something_else_is_found(path: Path) -> None:
    """The restored documents are read back and compared."""
    target = Watched(await opened("target"))

    async def disturb(op: Op[object]) -> None:
        if isinstance(op, Insert) and op.collection == READINGS:
            await target.inner.execute(Patch(PEOPLE, (identity(7),), (("version", 9),)))

    target.before = disturb
    with pytest.raises(VerificationError, match=r"people \(21 expected, 21 found\)"):
        await restore(path, target)


# --- forged: everything is recomputed --------------------------------------------------------


def _twice(lines: list[bytes]) -> None:
    number = _row(lines, b"p7@example.org")
    lines[number] = lines[number].replace(b'"email":', b'"email":"evil","email":', 1)


def _respelled(lines: list[bytes]) -> None:
    number = _row(lines, b"p7@example.org")
    lines[number] = lines[number].replace(b'"email":', b'"email": ', 1)


@pytest.mark.parametrize("change", [_twice, _respelled])
async def test_a_line_that_no_backup_has_is_found(
    path: Path, change: Callable[[list[bytes]], None]
) -> None:
    """Two values of one name leave every digest as it is: whichever is read."""
    _rewritten(path, change)
    assert "not in the form in which a backup is written" in await corrupt(path)


async def test_a_forged_version_is_found(tmp_path: Path) -> None:
    """Versions begin at 1; a store would refuse or, worse, keep it."""
    file = tmp_path / "b.json"
    forged = {**person(1), "version": 0}
    await backup(await opened("source", (PEOPLE, [person(0), forged])), file)
    assert "version" in await corrupt(file)


class Hiding(Watched):
    """A store that lacks the first person, whatever refers to it."""

    async def execute(self, op: Op[R]) -> R:
        """Run an operation, and hide the person."""
        result = await super().execute(op)
        if isinstance(op, Find) and op.collection.name == "people":
            rows = cast("tuple[Document, ...]", result)
            return cast("R", tuple(row for row in rows if row["id"] != identity(0)))
        return result


@pytest.mark.parametrize("field", ["mentor", "person"])
async def test_a_dangling_reference_is_found_before_the_target_is_touched(
    tmp_path: Path, field: str
) -> None:
    """Of its own collection and of another one; not every store would notice."""
    file = tmp_path / "b.json"
    people = [person(0), person(1, mentor=0 if field == "mentor" else None)]
    readings = [reading(1, of=0)] if field == "person" else []
    source = await opened("source", (PEOPLE, people), (READINGS, readings))
    await backup(Hiding(source), file)
    target = Watched(await opened("target"))
    with pytest.raises(BackupCorruptError, match="refer to documents of people") as caught:
        await restore(file, target)
    assert caught.value.field == field
    assert target.seen == []


@pytest.mark.parametrize(
    "values",
    [
        {"text": "'" * 5_001},
        {"blob": bytes(5_001)},
        {"data": [1] * 500},
        {"data": {"a": "\n" * 2_500}},
    ],
)
async def test_a_document_too_large_is_found_before_the_target_is_touched(
    tmp_path: Path, values: Document
) -> None:
    """Its line is named, whatever makes it large; what just fits is restored."""
    file = tmp_path / "b.json"
    rows = [everything(0), {**everything(1), **values}]
    await backup(await opened("source", (EVERYTHING, rows)), file)
    target = Watched(await narrow(5_000))
    with pytest.raises(
        BackupError, match=r"line 6: a document takes more than 5000 bytes"
    ) as caught:
        await restore(file, target)
    assert (type(caught.value), caught.value.entity) == (BackupError, "everything")
    assert target.seen == []
    assert (await restore(file, await narrow(8_000))).rows == 2


async def test_references_in_any_order_are_whole(tmp_path: Path) -> None:
    """To later and to earlier documents, in and across pages."""
    file = tmp_path / "b.json"
    people = [person(number, mentor=11_999 - number) for number in range(12_000)]
    source = await opened("source", (PEOPLE, people))
    await backup(source, file)
    assert (await restore(file, await opened("target"))).rows == 12_000


# --- files -----------------------------------------------------------------------------------


async def test_what_a_killed_backup_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """It holds documents; that of a living process stays, and so does any other file."""
    program = (
        "import sys, time; from pathlib import Path; "
        "from healthstore.transfer._temporary import make; "
        "make(Path(sys.argv[1])); print('made', flush=True); time.sleep(60)"
    )
    living, dead = (tmp_path / f".b.json.{digit * 16}.tmp" for digit in "ab")
    others = [tmp_path / name for name in (".b.json.tmp", "b.json.0000000000000000.tmp", ".x")]
    for each in others:
        each.touch()
    dead.write_text("documents")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(living), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"made\n"
        await backup(await opened("source", (PEOPLE, [person(0)])), tmp_path / "b.json")
        assert not dead.exists()
        assert living.exists()
    finally:
        process.kill()
        await process.wait()
    await backup(await opened("source", (PEOPLE, [person(0)])), tmp_path / "b.json")
    assert sorted(listed(tmp_path)) == sorted(each.name for each in [*others, tmp_path / "b.json"])


@pytest.mark.parametrize("name", ["b.json.gz", "b.json.zst", "b.ZIP"])
async def test_a_name_that_promises_a_packed_file_is_refused(tmp_path: Path, name: str) -> None:
    """A file is what its name says; nothing is written."""
    with pytest.raises(BackupError, match="plain JSON"):
        await backup(await opened("source", (PEOPLE, [person(0)])), tmp_path / name)
    assert listed(tmp_path) == []


async def test_a_packed_backup_says_so(path: Path) -> None:
    """It is not damaged, it wants to be unpacked."""
    put(path, gzip.compress(content(path)))
    with pytest.raises(BackupError, match="packed"):
        await restore(path, await opened("target"))


async def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Opening it would wait for a writer, and hold up everybody in this loop."""
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(InvalidRequestError, match="a pipe or a device"):
            await restore(path, await opened("target"))
