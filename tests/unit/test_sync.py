"""The synchronous manager: the same answers as the asynchronous one, for code without asyncio."""

from __future__ import annotations

import ast
import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import pytest

from healthstore import Entity, F, MaxLength, Unique, events, manager, repository, sync, transaction
from healthstore.errors import (
    ConfigurationError,
    DuplicateKeyError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    StaleVersionError,
    UnknownFieldError,
)
from healthstore.events import Event, OperationFinished, Switched
from healthstore.routing.policy import FailoverPolicy, Mock
from healthstore.sync import DatabaseManager, Transaction

ROOT = Path(__file__).parents[2]


class Patient(Entity, collection="patients"):
    """Somebody with an email and a number."""

    email: Annotated[str, Unique(), MaxLength(255)]
    visits: int = 0


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Whatever a test does, no thread is left behind it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty store."""
    return {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/store.db"}[request.param]


@pytest.fixture
def db(url: str) -> Iterator[DatabaseManager]:
    """Lend a manager with patients."""
    with DatabaseManager(url) as opened:
        opened.initialize(Patient)
        yield opened


# --- the generated file --------------------------------------------------------------------------


def test_the_module_is_what_the_generator_makes() -> None:
    """Nobody forgot `scripts/generate-sync` after a change of the manager or the repository."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts/generate-sync"), "--stdout"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    there = (ROOT / "src/healthstore/sync.py").read_text("utf-8")
    assert ast.dump(ast.parse(there)) == ast.dump(ast.parse(made)), "run scripts/generate-sync"
    assert there.splitlines()[:2] == made.splitlines()[:2]


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (sync.DatabaseManager, manager.DatabaseManager),
        (sync.Transaction, transaction.Transaction),
        (sync.Repository, repository.Repository),
        (sync.EventStream, events.EventStream),
    ],
)
def test_every_public_name_is_there(here: type, there: type) -> None:
    """Both faces have the same names, but for `member`: a Backend speaks to coroutines only."""

    def public(owner: type) -> set[str]:
        ours = [each for each in owner.__mro__ if each.__module__.startswith("healthstore.")]
        return {name for each in ours for name in vars(each) if not name.startswith("_")}

    assert public(here) - {"collection", "kinds", "lost"} == public(there) - {"member", "put"}


# --- a whole life --------------------------------------------------------------------------------


def test_the_verbs_of_a_repository_give_what_the_asynchronous_ones_give(
    db: DatabaseManager,
) -> None:
    """Add, get, find, count, update, increment, upsert, delete and aggregate."""
    patients = db.repository(Patient)
    ann = patients.add(Patient(email="ann@example.org"))
    assert patients.collection.name == "patients"
    assert patients.add_many(Patient(email=f"p{n}@example.org") for n in range(9)) == 9
    assert patients.get(ann.id) == ann
    assert patients.count() == 10
    page = patients.find(F.email.startswith("p"), order=["email"], limit=4)
    assert [each.email[:2] for each in page.items] == ["p0", "p1", "p2", "p3"]
    assert patients.find(order=["email"], limit=1, after=None).items == (ann,)
    assert patients.update(ann.id, {"visits": 2}, version=1).visits == 2
    assert patients.increment(ann.id, "visits").visits == 3
    assert patients.upsert(Patient(email="ann@example.org"), on="email").id == ann.id
    assert patients.exists(F.visits == 0)
    assert patients.delete(ann.id)
    assert not patients.delete(ann.id)
    assert patients.first(F.email == "ann@example.org") is None


def test_a_stream_reads_everything_in_order(db: DatabaseManager) -> None:
    """A stream goes over pages, and over the portions in which the portal fetches."""
    patients = db.repository(Patient)
    patients.add_many(Patient(email=f"{n:04}@example.org") for n in range(450))
    read = [each.email for each in patients.stream(order=["email"], page_size=70)]
    assert read == [f"{n:04}@example.org" for n in range(450)]


def test_a_stream_that_is_left_ends(db: DatabaseManager) -> None:
    """Leaving the loop, or an error in it, leaves nothing that runs."""
    patients = db.repository(Patient)
    patients.add_many(Patient(email=f"{n}@example.org") for n in range(20))
    for _ in patients.stream(page_size=2):
        break
    with pytest.raises(UnknownFieldError):
        list(patients.stream(F.emial == "x"))


def test_entities_may_come_from_a_stream_of_the_same_manager(tmp_path: Path) -> None:
    """What is added is read by who calls, so it may itself ask the manager."""
    with DatabaseManager(f"sqlite:///{tmp_path}/a.db") as db:
        db.initialize(Patient)
        patients = db.repository(Patient)
        patients.add_many(Patient(email=f"{n}@example.org") for n in range(5))
        copies = (Patient(email=f"copy-{each.email}") for each in patients.stream(page_size=2))
        assert patients.add_many(copies) == 5


def test_a_transaction_is_kept_at_its_end(db: DatabaseManager) -> None:
    """What was written in a block is there behind it."""
    with db.transaction() as unit:
        unit.repository(Patient).add(Patient(email="ann@example.org"))
        unit.repository(Patient).add(Patient(email="bob@example.org"))
    assert db.repository(Patient).count() == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, StopIteration])
def test_a_transaction_is_rolled_back_by_any_error(
    db: DatabaseManager, error: type[BaseException]
) -> None:
    """The error of the block arrives unchanged, and nothing was written."""
    raised = error("mine")

    def block() -> None:
        with db.transaction() as unit:
            unit.repository(Patient).add(Patient(email="ann@example.org"))
            raise raised

    with pytest.raises(error) as caught:
        block()
    assert caught.value is raised
    assert db.repository(Patient).count() == 0


def test_members_are_compared_copied_switched_and_backed_up(tmp_path: Path) -> None:
    """Migrate, verify, switch, backup and restore, and the report of each."""
    with DatabaseManager(f"sqlite:///{tmp_path}/a.db", "memory://") as db:
        assert db.members == ("sqlite", "memory")
        db.initialize(Patient)
        db.repository(Patient).add(Patient(email="ann@example.org"))
        seen: list[object] = []
        db.migrate("sqlite", "memory", on_event=seen.append)
        assert seen
        db.verify("sqlite", "memory").require()
        db.backup(tmp_path / "backup.json")
        report = db.switch("memory")
        assert (report.source, report.target, db.active) == ("sqlite", "memory", "memory")
        assert db.repository(Patient).count() == 1
        health = db.health(probe=True)
        assert health.member("memory").status == "connected"
        assert health.as_json()["active_database"] == "memory"
    with DatabaseManager(f"sqlite:///{tmp_path}/b.db") as other:
        other.initialize(Patient)
        other.restore(tmp_path / "backup.json")
        assert other.repository(Patient).count() == 1


def test_a_manager_is_made_from_settings_the_environment_or_a_file(tmp_path: Path) -> None:
    """The makers give a manager of the class that was asked."""
    file = tmp_path / "healthstore.toml"
    file.write_text('[[members]]\nname = "main"\nurl = "memory://"\n', "utf-8")
    for made in (
        DatabaseManager.from_env({"HEALTHSTORE_PRIMARY": "memory://"}),
        DatabaseManager.from_file(file, environ={}),
    ):
        with made as db:
            assert isinstance(db, DatabaseManager)
            db.initialize(Patient)
            assert db.ready()


def test_the_mock_is_filled_by_a_plain_function() -> None:
    """The function uses the transaction as any other synchronous code does."""

    def fill(unit: Transaction) -> None:
        unit.repository(Patient).add(Patient(email="mock@example.org"))
        counts.append(unit.repository(Patient).count())

    counts: list[int] = []
    policy = FailoverPolicy(mock=Mock.ON)
    with DatabaseManager("memory://", policy=policy, mock_fill=fill) as db:
        db.initialize(Patient)
        assert db.repository(Patient).count() == 0, "the mock's data are its own"
    assert counts == [1]


# --- errors --------------------------------------------------------------------------------------


def test_errors_arrive_as_they_are(db: DatabaseManager) -> None:
    """The class, the fields and the message are those of the asynchronous manager."""
    patients = db.repository(Patient)
    ann = patients.add(Patient(email="ann@example.org"))
    with pytest.raises(DuplicateKeyError) as caught:
        patients.add(Patient(email="ann@example.org"))
    assert caught.value.fields == ("email",)
    assert caught.value.outcome is Outcome.NOT_APPLIED
    with pytest.raises(StaleVersionError):
        patients.update(ann.id, {"visits": 1}, version=9)
    with pytest.raises(UnknownFieldError):
        patients.find(F.emial == "x")
    with pytest.raises(ConfigurationError):
        DatabaseManager("nonsense://")


def test_a_traceback_leads_from_the_caller_into_the_library(db: DatabaseManager) -> None:
    """The frames of the caller and of the coroutine are both there."""
    with pytest.raises(UnknownFieldError) as caught:
        db.repository(Patient).count(F.emial == "x")
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[0] == "test_a_traceback_leads_from_the_caller_into_the_library"
    assert "check" in names


def test_a_closed_manager_refuses_calls_and_can_be_opened_again(url: str) -> None:
    """Before open and after close a call raises LifecycleError; both may be repeated."""
    db = DatabaseManager(url)
    assert not db.alive()
    with pytest.raises(LifecycleError):
        db.initialize(Patient)
    for _ in range(2):
        db.open()
        db.open()
        assert db.alive()
        assert db.ready()
        db.initialize(Patient)
        stream = db.repository(Patient).stream()
        db.close()
        db.close()
        assert not db.alive()
        with pytest.raises(LifecycleError):
            db.repository(Patient).count()
        with pytest.raises(LifecycleError):
            next(stream)


def test_a_manager_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    """The error of the member arrives, and the background thread has ended."""
    before = threading.active_count()
    db = DatabaseManager(f"sqlite:///{tmp_path}/absent/folder/store.db")
    with pytest.raises(HealthstoreError):
        db.open()
    assert threading.active_count() == before
    with pytest.raises(HealthstoreError), db:
        pytest.fail("it was opened")  # pragma: no cover - the line above raises
    assert threading.active_count() == before


# --- threads, loops and processes ----------------------------------------------------------------


@pytest.mark.slow
def test_eight_threads_share_one_manager(db: DatabaseManager) -> None:
    """No change of any thread is lost, and reads beside them are never wrong."""
    patients = db.repository(Patient)
    ann = patients.add(Patient(email="ann@example.org"))

    def work(number: int) -> int:
        for turn in range(12):
            patients.increment(ann.id, "visits")
            with db.transaction() as unit:
                unit.repository(Patient).add(Patient(email=f"{number}-{turn}@example.org"))
            assert patients.exists(F.email == f"{number}-{turn}@example.org")
            assert db.ready()
            assert db.statistics()
        return sum(1 for _ in patients.stream(page_size=10))

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(work, range(8)))
    assert max(counts) == patients.count() == 1 + 8 * 12
    found = patients.get(ann.id)
    assert found is not None
    assert found.visits == 8 * 12


def test_closing_leaves_no_thread_and_no_task(url: str) -> None:
    """The checks, the connections' threads and the loop end with the manager."""
    before = set(threading.enumerate())
    with DatabaseManager(url, "memory://") as db:
        db.initialize(Patient)
        service = db._portal._service
        assert service is not None
        assert service.thread.daemon
        assert service.thread not in before
        iterator = db.repository(Patient).stream()
        assert next(iterator, None) is None
    assert set(threading.enumerate()) == before
    assert service.loop.is_closed()
    assert not asyncio.all_tasks(service.loop)


def test_a_running_event_loop_is_no_obstacle(url: str) -> None:
    """A notebook has a running loop in the very thread that calls."""

    async def cell() -> int:
        with DatabaseManager(url) as db:
            db.initialize(Patient)
            db.repository(Patient).add(Patient(email="ann@example.org"))
            return db.repository(Patient).count()

    assert asyncio.run(cell()) == 1


def run_program(text: str, *, folder: Path, limit: float = 20) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which warns of everything."""
    program = folder / "program.py"
    program.write_text(text, "utf-8")
    return subprocess.run(
        [sys.executable, "-X", "dev", str(program)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


PROGRAM = """\
import time
from healthstore import Entity
from healthstore.sync import DatabaseManager

class Note(Entity, collection="notes"):
    text: str

db = DatabaseManager({url!r})
db.open()
db.initialize(Note)
db.repository(Note).add(Note(text="kept"))
"""


@pytest.mark.slow
def test_a_program_that_forgets_to_close_ends(url: str, tmp_path: Path) -> None:
    """It ends within two seconds of its last line, quietly, and what it wrote is kept."""
    text = PROGRAM.format(url=url) + "print(time.time(), flush=True)\n"
    done = run_program(text, folder=tmp_path)
    ended = time.time()
    assert done.returncode == 0, done.stderr
    assert ended - float(done.stdout) < 2
    assert "Traceback" not in done.stderr


def test_a_manager_that_is_dropped_ends_its_thread() -> None:
    """A cell of a notebook that runs twice does not leave two threads; a warning tells."""
    before = threading.active_count()
    db = DatabaseManager("memory://")
    db.open()
    assert threading.active_count() == before + 1
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del db
        gc.collect()
        deadline = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
    assert threading.active_count() == before
    assert [each.category for each in told] == [ResourceWarning]


def test_a_program_may_close_at_exit(url: str, tmp_path: Path) -> None:
    """`atexit.register(db.close)` closes the connections, without a complaint."""
    text = PROGRAM.format(url=url) + (
        "import atexit\n"
        "atexit.register(lambda: print(db.alive()))\n"  # called behind the next one
        "atexit.register(db.close)\n"
    )
    done = run_program(text, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


FORK = """
import os, warnings
from healthstore.errors import LifecycleError
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads
child = os.fork()
if child == 0:
    status = 4
    try:
{body}
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
assert db.repository(Note).count() == 1
db.close()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("call", ["db.repository(Note).count()", "db.open()", "db.alive()"])
def test_a_fork_is_told_to_open_its_own(call: str, tmp_path: Path) -> None:
    """The child gets a LifecycleError instead of waiting for ever; leaving there harms nobody."""
    body = f"""\
        try:
            {call}
        except LifecycleError as error:
            status = 0 if "another process" in str(error) else 3
        db.close()
        del db
"""
    url = f"sqlite:///{tmp_path}/fork.db"
    done = run_program(PROGRAM.format(url=url) + FORK.format(body=body), folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_manager_made_before_a_fork_is_opened_behind_it(tmp_path: Path) -> None:
    """A server that loads the application before it forks needs no manager made anew."""
    url = f"sqlite:///{tmp_path}/fork.db"
    body = """\
        with early:
            status = early.repository(Note).count() - 1
"""
    text = PROGRAM.format(url=url) + f"early = DatabaseManager({url!r})\n" + FORK.format(body=body)
    done = run_program(text, folder=tmp_path)
    assert done.returncode == 0, done.stderr


# --- events --------------------------------------------------------------------------------------


def test_events_come_until_the_manager_closes(db: DatabaseManager) -> None:
    """A thread that listens gets what happens from then on, and its loop ends at close."""
    heard: list[Event] = []
    stream = db.events(OperationFinished)
    thread = threading.Thread(target=lambda: heard.extend(stream))
    thread.start()
    db.repository(Patient).count()
    db.close()
    thread.join(5)
    assert not thread.is_alive()
    assert [type(each) for each in heard] == [OperationFinished]


def test_events_that_wait_are_heard_after_close() -> None:
    """A listener that is late loses nothing by it."""
    with DatabaseManager("memory://") as db:
        stream = db.events(OperationFinished)
        db.initialize(Patient)
        db.repository(Patient).add(Patient(email="ann@example.org"))
    names = [each.operation for each in stream if isinstance(each, OperationFinished)]
    assert names[-1] == "insert"
    assert stream.lost == 0


def test_a_stream_of_events_is_closed_by_who_leaves_it(db: DatabaseManager) -> None:
    """Another thread may close it, which ends the wait for the next event."""
    waiting = db.events(Switched)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(list, waiting)
        waiting.close()
        assert answer.result(timeout=5) == []
    with db.events(OperationFinished) as stream:
        db.repository(Patient).count()
        assert isinstance(next(stream), OperationFinished)
    db.repository(Patient).count()
    assert list(stream) == []


def test_a_handler_runs_in_the_background_and_cannot_wait_there(
    db: DatabaseManager,
) -> None:
    """A handler that asks the manager gets an error instead of waiting for itself for ever."""
    refused: list[str] = []
    threads: list[threading.Thread] = []

    def handle(_: OperationFinished) -> None:
        threads.append(threading.current_thread())
        assert db.alive()
        for call in (db.health, db.close, db.open):
            try:
                call()
            except LifecycleError as error:
                refused.append(str(error))

    db.on(OperationFinished, handle)
    db.repository(Patient).count()
    assert set(threads) == {db._portal._service.thread if db._portal._service else None}
    assert len(refused) == 3 * len(threads)
    assert db.alive()


def test_a_handler_is_given_its_type_of_event() -> None:
    """Other events do not reach it."""
    heard: list[Switched] = []
    with DatabaseManager("memory://", members={"other": "memory://"}) as db:
        db.on(Switched, heard.append)
        db.initialize(Patient)
        db.migrate("memory", "other")
        db.switch("other")
    assert [(each.source, each.target) for each in heard] == [("memory", "other")]
