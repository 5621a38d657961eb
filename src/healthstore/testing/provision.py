"""Disposable databases on real servers: made for one test session, empty for every test.

:data:`PROVISIONS` says, by URL scheme, how a database is made beside the one that a URL names
and how it is dropped; the database of the URL itself is never touched. :data:`SERVERS` names
the environment variable that holds the URL of each server for this library's own tests.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import quote, urlencode
from uuid import uuid4

from healthstore.abc import Backend, BackendURL, Layer
from healthstore.abc.registry import connect
from healthstore.abc.unit import Phase
from healthstore.errors import ConfigurationError, HealthstoreError
from healthstore.layers.guard import GuardLayer
from healthstore.model.ops import CountDocuments
from healthstore.model.schema import Collection
from healthstore.testing._emptying import TouchLayer, clear, known_collections
from healthstore.testing.rollback import RollbackLayer, can_roll_back

__all__ = (
    "PROVISIONS",
    "SERVERS",
    "Databases",
    "Lent",
    "Provision",
    "clear",
    "disposable",
    "server_url",
    "text_of",
)

R = TypeVar("R")

# Name for --healthstore-require -> variable with the server's URL; None: it needs no server.
SERVERS: Mapping[str, str | None] = {
    "memory": None,
    "sqlite": None,
    "postgresql": "HEALTHSTORE_TEST_POSTGRESQL_URL",
    "mysql": "HEALTHSTORE_TEST_MYSQL_URL",
    "mariadb": "HEALTHSTORE_TEST_MARIADB_URL",
    "mongodb": "HEALTHSTORE_TEST_MONGODB_URL",
    "mongodb-rs": "HEALTHSTORE_TEST_MONGODB_RS_URL",
}
_EMBEDDED: Mapping[str, str] = {"memory": "memory://", "sqlite": "sqlite:///test.db"}
_SECONDS = 20.0  # for a connection to a server that makes or drops a database

Create: TypeAlias = Callable[[BackendURL, str], Awaitable[BackendURL]]
Drop: TypeAlias = Callable[[BackendURL], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Provision:
    """How one kind of server makes and drops a database.

    ``create`` gets a server's URL and a new name and returns the URL of the new database;
    ``drop`` gets that URL. With ``for_each_test`` a new one costs less than emptying the old.
    """

    create: Create
    drop: Drop
    for_each_test: bool = False


# --- embedded --------------------------------------------------------------------------------


async def _create_memory(url: BackendURL, _: str) -> BackendURL:
    return url


async def _drop_memory(_: BackendURL) -> None:
    """Do nothing: a store in memory goes with its last user."""


async def _create_sqlite(url: BackendURL, name: str) -> BackendURL:
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    return replace(url, database=str(folder / "test.db"))


async def _drop_sqlite(url: BackendURL) -> None:
    shutil.rmtree(Path(url.database).parent)


# --- servers: drivers are imported by name, so that none is needed to load this module ---------


def _address(url: BackendURL, port: int) -> dict[str, Any]:
    host = url.hosts[0] if url.hosts else None
    return {
        "host": host.name if host else "127.0.0.1",
        "port": (host.port if host else None) or port,
        "user": url.user,
        "password": url.password or "",
    }


_END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = $1 AND usename = current_user
"""


async def _run_postgresql(url: BackendURL, database: str, *statements: Sequence[str]) -> None:
    asyncpg: Any = import_module("asyncpg")
    connection = await asyncpg.connect(
        **_address(url, 5432), database=database or None, timeout=_SECONDS
    )
    try:
        for statement in statements:
            await connection.execute(*statement)
    finally:
        await connection.close(timeout=_SECONDS)


async def _create_postgresql(url: BackendURL, name: str) -> BackendURL:
    # template0 has no collation of the machine's own, and nobody is ever connected to it.
    await _run_postgresql(url, url.database, (f'CREATE DATABASE "{name}" TEMPLATE template0',))
    return replace(url, database=name)


async def _drop_postgresql(url: BackendURL) -> None:
    # WITH (FORCE) is refused while autovacuum, a superuser's process, is at work there. Without it
    # the server ends autovacuum itself, and waits some seconds for the sessions that are ended
    # here (CountOtherDBBackends, storage/ipc/procarray.c).
    await _run_postgresql(
        url,
        "postgres",
        (_END_SESSIONS, url.database),
        (f'DROP DATABASE IF EXISTS "{url.database}"',),
    )


async def _run_mysql(url: BackendURL, statement: str) -> None:
    aiomysql: Any = import_module("aiomysql")
    connection = await aiomysql.connect(
        **_address(url, 3306), autocommit=True, connect_timeout=_SECONDS
    )
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(statement)
    finally:
        await connection.ensure_closed()


async def _create_mysql(url: BackendURL, name: str) -> BackendURL:
    await _run_mysql(url, f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    return replace(url, database=name)


async def _drop_mysql(url: BackendURL) -> None:
    await _run_mysql(url, f"DROP DATABASE IF EXISTS `{url.database}`")


async def _create_mongodb(url: BackendURL, name: str) -> BackendURL:
    # The server makes a database when it is first written to.
    source = {"authSource": url.database or "admin"} if url.user else {}
    return replace(url, database=name, options={**source, **url.options})


async def _drop_mongodb(url: BackendURL) -> None:
    pymongo: Any = import_module("pymongo")
    scheme = f"{url.scheme}+srv" if url.driver == "srv" else url.scheme
    hosts = ",".join(map(str, url.hosts))
    credentials = {"username": url.user, "password": url.password} if url.user else {}
    options = {"serverSelectionTimeoutMS": 1000 * _SECONDS, **url.options}
    async with pymongo.AsyncMongoClient(f"{scheme}://{hosts}/", **credentials, **options) as client:
        await client.drop_database(url.database)


_POSTGRESQL = Provision(_create_postgresql, _drop_postgresql)
_MYSQL = Provision(_create_mysql, _drop_mysql)
_MONGODB = Provision(_create_mongodb, _drop_mongodb)

PROVISIONS: Mapping[str, Provision] = {
    "memory": Provision(_create_memory, _drop_memory, for_each_test=True),
    "sqlite": Provision(_create_sqlite, _drop_sqlite, for_each_test=True),
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "mongodb": _MONGODB,
}


class _Translating(Protocol):
    """What every adapter has: the error of ours for one of its driver."""

    def ours(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError: ...


async def _asked(
    url: BackendURL, doing: str, work: Callable[[], Awaitable[R]], hint: str = ""
) -> R:
    """Return what work on a server gives; what its driver raises becomes an error of ours.

    A driver's frames hold the password, and pytest shows frames: none of them is kept.
    """
    adapter = cast(_Translating, connect(url))
    try:
        return await work()
    except HealthstoreError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a driver raises holds its frames
        ours = adapter.ours(error, Phase.CONNECT, None)
    # Outside of the block: the driver's error would be the context.
    hints = "; ".join(each for each in (ours.hint, hint) if each)
    raise type(ours)(f"{doing} at {url}: {ours.message}", hint=hints)


async def _make(provision: Provision, url: BackendURL) -> BackendURL:
    """Return the URL of a new database beside the one that a URL names."""
    name = _new_name()
    return await _asked(
        url,
        "no database for tests could be made",
        lambda: provision.create(url, name),
        "the user must be allowed to make one",
    )


@asynccontextmanager
async def disposable(
    url: BackendURL, provision: Provision | None = None
) -> AsyncGenerator[BackendURL, None]:
    """Make a database beside the one that a URL names, and drop it afterwards.

    Without a provision it is the one of :data:`PROVISIONS`.
    """
    known = provision or PROVISIONS.get(url.scheme)
    if known is None:
        raise ConfigurationError(
            f"it is not known how a database is made for {url.scheme}://",
            hint="pass a Provision that makes and drops one",
        )
    made = await _make(known, url)
    async with _finally(lambda: _remove(known, made)):
        yield made


@asynccontextmanager
async def _finally(work: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Do something after a block; if both fail, the error of the block is the one to see."""
    try:
        yield
    except BaseException as error:
        try:
            await work()
        except HealthstoreError as second:
            error.add_note(f"afterwards: {second}")
        raise
    await work()


async def _remove(provision: Provision, url: BackendURL) -> None:
    """Drop a database that was made."""
    await _asked(url, "the database of tests was not dropped", lambda: provision.drop(url))


# --- empty stores ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lent:
    """What a manager needs to use a disposable database: its URL, and layers for its adapter."""

    url: str = field(repr=False)
    layers: tuple[Callable[[Backend], Layer], ...] = ()


class Databases:
    """The disposable databases of one test session, each made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, BackendURL] = {}
        self._borrowed: set[str] = set()
        self._unclean: set[str] = set()  # a test failed before its documents were removed
        self.used: set[str] = set()

    @asynccontextmanager
    async def empty(self, name: str, url: BackendURL) -> AsyncGenerator[Backend, None]:
        """Lend an opened backend, called ``name``, whose store holds no documents.

        ``url`` names a server; the database is one of our own beside the URL's. A scheme that
        :data:`PROVISIONS` does not list gets no database of its own: then the URL must name a
        store that is empty when the session begins.
        """
        provision = PROVISIONS.get(url.scheme)
        if provision is None:
            lent = self._borrow(name, url)
        elif provision.for_each_test:
            lent = self._fresh(name, url, provision)
        else:
            lent = self._cleared(name, url, provision)
        async with lent as backend:
            self.used.add(name)
            yield backend

    @asynccontextmanager
    async def lend(self, name: str, url: BackendURL) -> AsyncGenerator[Lent, None]:
        """Lend the place of an empty database for one test, for a manager to open.

        As :meth:`empty` it is one of our own, new or emptied afterwards; where a transaction can
        be undone in parts, the test runs in one that is rolled back, which costs less.
        """
        self.used.add(name)
        provision = PROVISIONS.get(url.scheme)
        if provision is not None and provision.for_each_test:
            async with disposable(url, provision) as fresh:
                yield Lent(text_of(fresh))
            return
        made = await self._kept(name, url, provision)
        if can_roll_back(connect(made, name)):
            yield Lent(text_of(made), (RollbackLayer,))
            return
        if name in self._unclean:
            async with _opened(made, name) as backend:
                await clear(backend)
        self._unclean.add(name)
        touched: set[Collection] = set()
        yield Lent(text_of(made), (partial(TouchLayer, touched=touched),))
        async with _opened(made, name) as backend:
            await clear(backend, touched)
        self._unclean.discard(name)

    async def _kept(self, name: str, url: BackendURL, provision: Provision | None) -> BackendURL:
        """Return the database that a session keeps for a name, made or borrowed at first use."""
        if provision is None:
            if name not in self._borrowed:
                async with _opened(url, name) as backend:
                    await _require_empty(backend)
                self._borrowed.add(name)
            return url
        if name not in self._made:
            self._made[name] = await _make(provision, url)
        return self._made[name]

    @asynccontextmanager
    async def _fresh(
        self, name: str, url: BackendURL, provision: Provision
    ) -> AsyncGenerator[Backend, None]:
        async with disposable(url, provision) as made, _opened(made, name) as backend:
            yield backend

    @asynccontextmanager
    async def _cleared(
        self, name: str, url: BackendURL, provision: Provision
    ) -> AsyncGenerator[Backend, None]:
        made = await self._kept(name, url, provision)
        async with self._emptied_afterwards(name, made) as backend:
            yield backend

    @asynccontextmanager
    async def _borrow(self, name: str, url: BackendURL) -> AsyncGenerator[Backend, None]:
        async with self._emptied_afterwards(name, await self._kept(name, url, None)) as backend:
            yield backend

    @asynccontextmanager
    async def _emptied_afterwards(
        self, name: str, url: BackendURL
    ) -> AsyncGenerator[Backend, None]:
        async with _opened(url, name) as backend:
            if name in self._unclean:
                await clear(backend)
            self._unclean.add(name)
            noting = TouchLayer(backend)
            yield noting
            await backend.open()  # a test may have closed it
            await clear(backend, noting.touched)
            self._unclean.discard(name)

    def drop(self) -> None:
        """Drop every database that was made; call it outside of a running event loop."""
        # A runner ends what drivers have left running; with a factory it leaves the thread's loop.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            while self._made:
                _, url = self._made.popitem()
                runner.run(_remove(PROVISIONS[url.scheme], url))


def server_url(name: str, environment: Mapping[str, str]) -> BackendURL | None:
    """Return the URL of one of :data:`SERVERS`, or None if its variable is not set."""
    variable = SERVERS[name]
    text = _EMBEDDED[name] if variable is None else environment.get(variable)
    return BackendURL.parse(text) if text else None


def text_of(url: BackendURL) -> str:
    """Return a URL as text, with its secret."""
    driver = f"+{url.driver}" if url.driver else ""
    hosts = (
        replace(each, name=f"[{each.name}]" if ":" in each.name else each.name)
        for each in url.hosts
    )
    user = quote(url.user, safe="") if url.user else ""
    secret = "" if url.password is None else f":{quote(url.password, safe='')}"
    at = "@" if user or secret else ""
    options = f"?{urlencode(url.options)}" if url.options else ""
    where = ",".join(map(str, hosts))
    return f"{url.scheme}{driver}://{user}{secret}{at}{where}/{quote(url.database)}{options}"


def _new_name() -> str:
    # Sessions and workers of pytest-xdist may share a server.
    return f"healthstore_test_{uuid4().hex[:12]}"


@asynccontextmanager
async def _opened(url: BackendURL, name: str) -> AsyncGenerator[Backend, None]:
    backend = connect(url, name)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def _require_empty(backend: Backend) -> None:
    store = GuardLayer(backend)
    for collection in await known_collections(store):
        if await store.execute(CountDocuments(collection)):
            raise ConfigurationError(
                "the store holds documents, and the tests would remove them",
                hint="give the URL of an empty database that may be overwritten",
                entity=collection.entity,
                backend=backend.name,
            )
