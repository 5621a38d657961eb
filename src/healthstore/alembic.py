"""A bridge to Alembic, for a team that changes its schema with that.

:func:`metadata` is what ``alembic revision --autogenerate`` compares a database with;
:func:`stamp`, called in a revision, lets the store know its new definitions. Alembic itself is not
imported here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sqlalchemy import Connection, MetaData, inspect
from sqlalchemy.engine.mock import MockConnection

from healthstore.adapters.sql.metadata import (
    dialect_of,
    forgetting,
    metadata_of,
    recording,
)
from healthstore.entity import Entity, collection_of
from healthstore.errors import ConfigurationError, InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.catalog import CATALOG
from healthstore.model.schema import Collection, require_distinct

__all__ = ("Operations", "metadata", "stamp")


class Operations(Protocol):
    """Alembic's ``op``, as far as it is needed here."""

    def get_bind(self) -> Connection:
        """Return the connection on which a revision runs."""
        ...


def metadata(*entities: type[Entity], dialect: str = "postgresql") -> MetaData:
    """Return the tables of entities as Alembic's ``target_metadata``.

    healthstore's own table, the catalog, is one of them. ``dialect`` is what SQLAlchemy calls the
    database, ``engine.dialect.name``: ``"postgresql"``, ``"mysql"``, ``"mariadb"`` or
    ``"sqlite"``. A column has the constant default of its field, so that rows get it where Alembic
    adds the column. Raises InvalidRequestError if no entity is named, or two have one collection,
    and ConfigurationError for another dialect, or an entity that refers to one that is not named.
    """
    if not entities:
        raise InvalidRequestError("no entity is named", hint="metadata(User, Weight)")
    collections = [collection_of(each) for each in entities]
    require_distinct(collections)
    names = {each.name for each in collections}
    for each in collections:
        for reference in each.references:
            if reference.collection not in names:
                raise ConfigurationError(
                    f"refers to {reference.collection!r}, whose entity is not named",
                    hint="name all entities of the database in one call",
                    entity=each.entity,
                    field=reference.field,
                )
    return metadata_of(collections, dialect_of(dialect))


def stamp(
    op: Operations | Connection,
    *entities: type[Entity] | Collection,
    dropped: Iterable[str] = (),
) -> None:
    """Note in the store that its tables are as these entities say; changes no table.

    For the end of a revision, with Alembic's ``op``, or a connection of SQLAlchemy's: it writes
    there, in the transaction that is under way, and commits nothing. Offline (``--sql``) it
    becomes a part of the script. Instead of an entity, which is as the program has it when the
    revision runs, a definition may be given, as :func:`healthstore.schema.collection` makes it.
    ``dropped`` names collections whose tables the revision has dropped. Raises InvalidRequestError
    if nothing is named, or a collection twice, and ConfigurationError if there is no catalog.
    """
    collections = [
        each if isinstance(each, Collection) else collection_of(each) for each in entities
    ]
    names = listed(dropped, "dropped", 'dropped=["visits"]')
    if not collections and not names:
        raise InvalidRequestError("no entity is named", hint="stamp(op, User, Weight)")
    require_distinct(collections)
    for each in collections:
        if each.name in names:
            raise InvalidRequestError(
                f"the collection {each.name!r} is named as dropped, too",
                hint="name it once",
                entity=each.entity,
            )
    connection = _connection(op)
    dialect = dialect_of(connection.dialect.name)
    for name in names:
        connection.execute(forgetting(name, dialect))
    for each in collections:
        for statement in recording(each, dialect):
            connection.execute(statement)


def _connection(op: Operations | Connection) -> Connection | MockConnection:
    """Return the connection of a revision: offline it is one that writes a script."""
    found: object = op if isinstance(op, Connection) else getattr(op, "get_bind", lambda: op)()
    if isinstance(found, MockConnection):
        return found
    if not isinstance(found, Connection):
        raise InvalidRequestError(
            "a store is stamped by Alembic's op or a connection",
            hint="stamp(op, User) in a revision; of an asynchronous connection, "
            "await connection.run_sync(stamp, User)",
        )
    if not inspect(found).has_table(CATALOG.name):
        raise ConfigurationError(
            f"there is no table {CATALOG.name!r} to stamp",
            hint="the revision that makes the first table makes it too, if target_metadata is "
            "healthstore.alembic.metadata(…); initialize() makes it as well",
        )
    return found
