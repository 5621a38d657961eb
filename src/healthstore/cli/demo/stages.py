"""The demo's stages; each one measures something and adds to the score card what it found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import msgspec
from pydantic_core import to_jsonable_python

from healthstore.cli.demo.card import Card
from healthstore.cli.demo.cluster import postgresql
from healthstore.cli.demo.outage import Outage
from healthstore.cli.demo.primary import Primary, sqlite_file
from healthstore.cli.demo.program import Patient, Reading, patients, program, readings
from healthstore.cli.output import Output
from healthstore.cli.progress import progress
from healthstore.cli.store import TRANSFER
from healthstore.errors import (
    BackupCorruptError,
    CapabilityError,
    HealthstoreError,
    UnavailableError,
)
from healthstore.manager import DatabaseManager
from healthstore.testing.provision import clear
from healthstore.transfer.selection import catalog

__all__ = ("REFUSALS", "Demo", "digest_of")

_READINGS = 12_000
_BATCH = 2_000
_SHOWN = 10  # hexadecimal digits of a digest in a table; compared are all of them
# What the program's mistakes must end with, on every store.
REFUSALS: Mapping[str, object] = {
    "duplicate email": "DuplicateKeyError",
    "stale version": "StaleVersionError",
    "unknown field": "UnknownFieldError",
    "failed unit": ("DuplicateKeyError", len(patients())),
}


def digest_of(answer: object) -> str:
    """Return a SHA-256 in hexadecimal digits: equal for equal answers only."""
    text = msgspec.json.encode(to_jsonable_python(answer), order="deterministic")
    return hashlib.sha256(text).hexdigest()


@dataclass(slots=True)
class Demo:
    """What the stages share: the stores by name, a folder for files, and the score card."""

    output: Output
    stores: Mapping[str, str]
    folder: Path
    card: Card = field(default_factory=Card)
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    """The digest of each answer of the program, by question and store."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why a store does not run the program, by its name."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a part of the demo cannot be run on this machine, by what it shows."""

    @property
    def backup(self) -> Path:
        """The backup file."""
        return self.folder / "backup.json"

    async def run(self) -> None:
        """Run every stage; an error ends the run as a line that did not hold."""
        stage = "every stage runs to its end"
        try:
            await self.ask()
            stage = "a migration moves every row and changes none"
            members = {**self.stores, "restored": f"sqlite:///{self.folder / 'restored.db'}"}
            async with DatabaseManager(members=members, policy=TRANSFER) as db:
                await self.migrate(db)
                stage = "a backup can be restored"
                await self.back_up(db)
                await self.tamper()
                await self.restore(db)
            stage = "an outage of the active member loses no acknowledged write"
            await self.lose(sqlite_file(self.folder / "primary.db"), "standby.db")
            stage = "a PostgreSQL that is killed loses no acknowledged write"
            await self.kill()
        except HealthstoreError as error:
            self.card.add(stage, f"{type(error).__name__} ({error.code})", held=False)
            self.output.note(f"{stage}: {error}")

    async def ask(self) -> None:
        """Run the program on every store and compare the answers."""
        wrong: list[str] = []
        for name, url in self.stores.items():
            async with DatabaseManager(members={name: url}) as db:
                try:
                    await db.initialize(Patient, Reading)
                    answers = await program(db)
                except CapabilityError as error:
                    self.refused[name] = error.message
                    continue
                finally:  # the migration must find the store empty
                    await clear(await db.member(name))
            wrong += [
                f"{question} on {name}"
                for question, expected in REFUSALS.items()
                if answers[question] != expected
            ]
            for question, answer in answers.items():
                self.answers.setdefault(question, {})[name] = digest_of(answer)
        stores = [name for name in self.stores if name not in self.refused]
        rows = [
            (question, *(found[name][:_SHOWN] for name in stores), "=" if _same(found) else "≠")
            for question, found in self.answers.items()
        ]
        self.output.table(("answer", *stores, ""), rows, title="Digests of the answers")
        for name, reason in self.refused.items():
            self.output.show(f"{name} says before it starts that it cannot: {reason}")
        different = [question for question, found in self.answers.items() if not _same(found)]
        self.card.add(
            "the same program gives the same answers on every store",
            f"{len(self.answers)} answers on {', '.join(stores)}: {len(different)} differ",
            held=len(stores) > 1 and len(self.answers) > len(REFUSALS) and not different,
        )
        self.card.add(
            "mistakes end with the same typed error, and leave nothing behind",
            f"{len(REFUSALS)} mistakes on {len(stores)} stores: {len(wrong)} went otherwise",
            held=bool(stores) and not wrong,
        )

    async def migrate(self, db: DatabaseManager) -> None:
        """Fill the first store and carry it to each of the others."""
        source, *targets = self.stores
        started = perf_counter()
        await db.initialize(Patient, Reading)
        count = await db.repository(Patient).add_many(patients())
        for first in range(0, _READINGS, _BATCH):
            count += await db.repository(Reading).add_many(readings(_BATCH, first))
        seconds = perf_counter() - started
        self.output.show(f"\nLoaded {count:,} rows into {source} in {seconds:.1f} s.")
        rows: list[tuple[str, ...]] = []
        equal = 0
        for target in targets:
            with progress(self.output) as on_event:
                moved = await db.migrate(source, target, on_event=on_event)
                compared = await db.verify(source, target, on_event=on_event)
            equal += compared.equal and moved.rows == compared.rows == count
            for each in compared.collections:
                sides = (each.left_digest[:_SHOWN], each.right_digest[:_SHOWN])
                same = "=" if each.equal else "≠"
                rows.append((f"{source} → {target}", each.collection, *sides, same))
            rate = moved.rows / moved.seconds
            self.card.add(
                f"{source} → {target}: every row arrives, none is changed",
                f"{moved.rows:,} of {count:,} rows, read back, {rate:,.0f} rows/s",
                held=compared.equal and moved.rows == compared.rows == count,
            )
        columns = ("migration", "collection", "digest before", "digest after", "")
        self.output.table(columns, rows)

    async def back_up(self, db: DatabaseManager) -> None:
        """Write the last store to a file."""
        *_, last = self.stores
        source, *_ = self.stores
        expected = await db.verify(source, last)
        report = await db.backup(self.backup, source=last)
        size = self.backup.stat().st_size
        digests = {each.collection: each.digest for each in report.collections}
        self.card.add(
            f"a backup of {last} holds what {source} holds",
            f"{report.rows:,} rows, {size / 1e6:.1f} MB in {report.seconds:.1f} s, equal digests",
            held=digests == {each.collection: each.left_digest for each in expected.collections}
            and report.rows == expected.rows > 0,
        )

    async def tamper(self) -> None:
        """Damage copies of the backup, and see that none is accepted."""
        whole = self.backup.read_bytes()
        for name, promise, damaged in (
            ("changed", "a backup with one changed digit is refused", _change_digit(whole)),
            ("cut", "a backup that was cut off is refused", whole[: len(whole) * 2 // 3]),
        ):
            path = self.folder / f"{name}.json"
            path.write_bytes(damaged)
            measured, held = await self._refusal(path, f"sqlite:///{self.folder / name}.db")
            self.card.add(promise, measured, held=held and damaged != whole)

    async def _refusal(self, path: Path, url: str) -> tuple[str, bool]:
        """Try to restore a damaged file into a new store; it must stay empty."""
        async with DatabaseManager(members={"target": url}) as db:
            try:
                await db.restore(path)
            except BackupCorruptError as error:
                left = await catalog(await db.member("target"))
                self.output.show(f"{path.name}: {error.message}")
                return f"{error.code}, {len(left)} collections written", not left
            return "it was restored", False

    async def restore(self, db: DatabaseManager) -> None:
        """Restore the good file into a new store and compare that with the first one."""
        source, *_ = self.stores
        report = await db.restore(self.backup, into="restored")
        compared = await db.verify(source, "restored")
        self.card.add(
            "the good backup is restored into a new store, equal to the first",
            f"{report.rows:,} rows in {report.seconds:.1f} s, "
            f"{sum(each.equal for each in compared.collections)} of "
            f"{len(compared.collections)} digests equal",
            held=compared.equal and report.rows == compared.rows > 0,
        )

    async def lose(self, primary: Primary, standby: str) -> None:
        """Lose a primary that has a copy in a file of this name."""
        await Outage(self.output, self.card, primary, self.folder / standby).run()

    async def kill(self) -> None:
        """Kill a PostgreSQL of the demo's own, where its programs are."""
        async with AsyncExitStack() as stack:
            try:
                primary = await stack.enter_async_context(postgresql())
            except UnavailableError as error:
                self.skipped["PostgreSQL is killed"] = error.message
                self.output.show(f"\nSkipped: no PostgreSQL is killed. {error.message}.")
                return
            await self.lose(primary, "postgresql-standby.db")


def _same(found: Mapping[str, str]) -> bool:
    return len(set(found.values())) == 1


def _change_digit(whole: bytes) -> bytes:
    """Change one digit of one value in the middle of a backup: it stays valid JSON."""
    mark = b'"$numberDecimal":"'
    place = whole.index(mark, len(whole) // 2) + len(mark)
    digit = whole[place : place + 1]
    return whole[:place] + (b"7" if digit != b"7" else b"3") + whole[place + 1 :]
