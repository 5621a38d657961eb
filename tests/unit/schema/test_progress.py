"""What a caller knows of a function that is under way, and how others are let through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from healthstore import DatabaseManager
from healthstore.errors import InvalidRequestError, MigrationError
from healthstore.schema import PageTransformed, rewrite

from .releases import FILES, write
from .test_upgrade import URLS, add, rows

IDS = tuple(FILES)


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of a store with five patients; a page has two documents."""
    monkeypatch.setattr(rewrite, "_PAGE", 2)
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        await manager.schema.upgrade(1, write(tmp_path))
        await add(manager, *(f"Ann{number} Lee" for number in range(5)))
        yield manager


def told(events: list[PageTransformed]) -> list[tuple[str, str, int, int, int]]:
    """Return what events say but for the time."""
    return [
        (each.migration, each.collection, each.done, each.total, each.earlier) for each in events
    ]


async def test_each_page_of_a_function_is_told(db: DatabaseManager, tmp_path: Path) -> None:
    """Of which migration, how many documents of how many; up and down, and of nothing else."""
    events: list[PageTransformed] = []
    folder = tmp_path / "migrations"
    await db.schema.upgrade(3, folder, allow_loss=True, on_event=events.append)
    pages = [(IDS[2], "patients", done, 5, 0) for done in (2, 4, 5)]
    assert told(events) == pages
    assert {each.step for each in events} == {2}
    assert sorted(each.seconds for each in events) == [each.seconds for each in events]
    events.clear()
    await db.schema.downgrade(2, folder, allow_loss=True, on_event=events.append)
    assert told(events) == pages
    assert len(await rows(db)) == 5


async def test_what_an_earlier_call_had_done_is_told_as_such(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A function that failed at the third document goes on after the first page."""
    folder = tmp_path / "migrations"
    third = folder / f"{IDS[2]}.py"
    text = third.read_text("utf-8")
    failing = text.replace("    first", '    assert row["name"] != "Ann2 Lee"\n    first', 1)
    third.write_text(failing, "utf-8")
    events: list[PageTransformed] = []
    with pytest.raises(MigrationError, match="AssertionError"):
        await db.schema.upgrade(3, folder, allow_loss=True, on_event=events.append)
    third.write_text(text, "utf-8")
    await db.schema.upgrade(3, folder, allow_loss=True, on_event=events.append)
    assert [(done, earlier) for _, _, done, _, earlier in told(events)] == [(2, 0), (4, 2), (5, 2)]
    assert {each.total for each in events} == {5}


async def test_a_callback_that_fails_is_logged_and_no_more(
    db: DatabaseManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What shows a migration must not break it."""

    def broken(event: PageTransformed) -> None:
        raise RuntimeError(event.migration)

    done = await db.schema.upgrade(3, tmp_path / "migrations", allow_loss=True, on_event=broken)
    assert done == IDS[1:3]
    assert "a progress callback failed on PageTransformed" in caplog.text


async def test_a_pause_lies_between_pages(
    db: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that others are served meanwhile; it is a number of seconds."""
    folder = tmp_path / "migrations"
    for wrong in (-1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(InvalidRequestError, match="pause"):
            await db.schema.upgrade(3, folder, pause=wrong)  # type: ignore[arg-type]  # that is it
    assert await db.schema.current() == IDS[0]
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    await db.schema.upgrade(3, folder, allow_loss=True, pause=17.5)
    assert slept.count(17.5) == 3
