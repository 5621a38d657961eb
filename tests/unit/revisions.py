"""An environment of Alembic in a folder, and what is asked of it on a database."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine

import healthstore.alembic
from healthstore import Entity

__all__ = ("CHECKS", "Revisions")

CHECKS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]
"""Alembic's plugins, with the one that compares CHECKs by their names."""

_ENV = """
from alembic import context

import healthstore.alembic

given = context.config.attributes
target_metadata = healthstore.alembic.metadata(*given["entities"], dialect=given["dialect"])
if context.is_offline_mode():
    context.configure(
        dialect_name=given["dialect"],
        target_metadata=target_metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        autogenerate_plugins=given["plugins"],
    )
else:
    context.configure(
        connection=given["connection"],
        target_metadata=target_metadata,
        autogenerate_plugins=given["plugins"],
    )
with context.begin_transaction():
    context.run_migrations()
"""
_REVISION = '''
"""${message}"""
import sqlalchemy as sa
from alembic import context, op
${imports if imports else ""}

import healthstore.alembic

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

def upgrade():
    given = context.config.attributes
    ${upgrades if upgrades else "pass"}
    if given["stamps"]:
        healthstore.alembic.stamp(op, *given["entities"])

def downgrade():
    given = context.config.attributes
    ${downgrades if downgrades else "pass"}
    if given["before"]:
        healthstore.alembic.stamp(op, *given["before"])
'''
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
}


class Revisions:
    """An environment whose revisions end with a stamp of the entities given last."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder / "alembic"
        (self.folder / "versions").mkdir(parents=True)
        (self.folder / "env.py").write_text(_ENV, "utf-8")
        (self.folder / "script.py.mako").write_text(_REVISION.lstrip(), "utf-8")
        given = make_url(url)
        self.dialect = given.get_backend_name()
        self.engine = create_async_engine(given.set(drivername=_DRIVERS[self.dialect], query={}))
        self.stamps = True
        self.before: tuple[type[Entity], ...] = ()
        self.plugins = CHECKS

    async def call(self, function: Callable[[Connection], Any]) -> Any:
        """Call a function with a connection that commits at the end."""
        try:
            async with self.engine.begin() as connection:
                return await connection.run_sync(function)
        finally:
            await self.engine.dispose()

    async def differences(self, *entities: type[Entity]) -> list[Any]:
        """Return what Alembic finds between the database and the entities."""

        def compare(connection: Connection) -> list[Any]:
            opts = {"autogenerate_plugins": self.plugins}
            context = MigrationContext.configure(connection, opts=opts)
            wanted = healthstore.alembic.metadata(*entities, dialect=self.dialect)
            return compare_metadata(context, wanted)

        found: list[Any] = await self.call(compare)
        return found

    async def revise(self, *entities: type[Entity]) -> str:
        """Let Alembic write a revision; return its text."""
        written: list[Path] = []

        def autogenerate(config: Config) -> None:
            script = command.revision(config, "changed", autogenerate=True)
            assert script is not None
            assert not isinstance(script, list)
            written.append(Path(script.path))

        await self._run(autogenerate, entities)
        return written[0].read_text("utf-8")

    async def upgrade(self, *entities: type[Entity]) -> None:
        """Run all revisions, with these entities as those of the program."""
        await self._run(lambda config: command.upgrade(config, "head"), entities)

    async def downgrade(self, *entities: type[Entity]) -> None:
        """Take the last revision back."""
        await self._run(lambda config: command.downgrade(config, "-1"), entities)

    def script(self, *entities: type[Entity]) -> str:
        """Return what an upgrade from nothing would run, as a script."""
        written = StringIO()
        config = self._config(entities, written)
        command.upgrade(config, "head", sql=True)
        return written.getvalue()

    async def _run(
        self, function: Callable[[Config], None], entities: tuple[type[Entity], ...]
    ) -> None:
        config = self._config(entities, StringIO())

        def run(connection: Connection) -> None:
            config.attributes["connection"] = connection
            function(config)

        await self.call(run)

    def _config(self, entities: tuple[type[Entity], ...], output: StringIO) -> Config:
        config = Config(stdout=output, output_buffer=output)
        config.set_main_option("script_location", str(self.folder))
        config.set_main_option("path_separator", "os")
        config.attributes |= {
            "before": self.before,
            "dialect": self.dialect,
            "entities": entities,
            "plugins": self.plugins,
            "stamps": self.stamps,
        }
        return config
