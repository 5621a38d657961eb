"""The command ``load``: the rows of a file as entities of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from difflib import get_close_matches
from pathlib import Path

import msgspec
from pydantic import ValidationError

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, failure_of
from healthstore.cli.named import find_entity, there
from healthstore.cli.output import Output
from healthstore.cli.progress import progress
from healthstore.cli.store import Store
from healthstore.entity import Entity, collection_of, to_documents
from healthstore.errors import (
    HealthstoreError,
    IntegrityError,
    InvalidRequestError,
    RefusedValueError,
)
from healthstore.model.schema import Collection
from healthstore.model.values import Kind
from healthstore.transfer import load
from healthstore.transfer.numbers import InexactError, exact_float

__all__ = ("Reader", "load_file")

# What separates columns elsewhere, and how it is called.
_OTHERS: Mapping[str, str] = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Reasons that a validator of the user's wrote: they may quote the value.
_WRITTEN = frozenset({"assertion_error", "value_error"})
_decode = msgspec.json.Decoder(float_hook=exact_float).decode


async def load_file(output: Output, file: Path, name: str, target: Store) -> int:
    """Load a file into the collection of an entity, on the active member; every row or none."""
    reader = Reader(find_entity(name), cells=".csv" in (each.lower() for each in file.suffixes))
    there(file)  # before a new store is made for nothing
    async with target.manager() as db:
        store = await db.member(db.active)
        with progress(output) as on_event:
            try:
                report = await load(
                    *(file, reader.collection, store, reader.entity),
                    documents=to_documents,
                    on_event=on_event,
                )
            except (IntegrityError, InvalidRequestError) as error:
                raise _in_file(file, error) from None
    rate = report.rows / max(report.seconds, 1e-9)
    output.show(
        f"Loaded {report.rows:,} rows of {file.name} into {report.collection} "
        f"in {report.seconds:.2f} s ({rate:,.0f} rows/s)."
    )
    output.result({"ok": True, "exit": int(Exit.OK), "command": "load", **asdict(report)})
    return Exit.OK


def _in_file(file: Path, error: HealthstoreError) -> CommandError:
    """Return the error with the name of the file as its place."""
    failure = failure_of(error)
    return CommandError(replace(failure, where=", ".join(filter(None, (str(file), failure.where)))))


class Reader:
    """Makes entities of rows, by their own validation.

    With ``cells`` a row comes from a table of text, where JSON is text as well.
    """

    def __init__(self, entity: type[Entity], *, cells: bool) -> None:
        self.collection: Collection = collection_of(entity)
        self._entity = entity
        json = [each.name for each in self.collection.fields if each.type.kind is Kind.JSON]
        self._json = frozenset(json if cells else ())
        self._cells = cells

    def entity(self, row: Mapping[str, object]) -> Entity:
        """Return the entity of a row; raise RefusedValueError, without any value."""
        cells = {name: self._cell(name, row[name]) for name in self._json if name in row}
        if cells:
            row = {**row, **cells}
        try:
            return self._entity.model_validate(row)
        except ValidationError as error:
            raise self._refusal(error, tuple(row)) from None

    def _cell(self, name: str, cell: object) -> object:
        """Return what the JSON text of a cell holds; text that is no JSON is left to validation."""
        if not isinstance(cell, str):
            return cell
        try:
            return _decode(cell)
        except InexactError as error:
            raise RefusedValueError(
                str(error),
                hint="write it as a text inside the JSON, or with the digits of a float",
                entity=self.collection.entity,
                field=name,
            ) from None
        except msgspec.DecodeError:
            return cell

    def _refusal(self, error: ValidationError, names: tuple[str, ...]) -> RefusedValueError:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        # A name that is no field explains one that is missing, not the other way round.
        first = min(found, key=lambda each: each["type"] != "extra_forbidden")
        field = str(first["loc"][0]) if first["loc"] else None
        if field is not None and field not in self.collection.by_name:
            return self._unknown(field, names)
        # Behind a comma pydantic quotes a part of what it could not parse.
        reason = first["msg"].partition(", ")[0]
        return RefusedValueError(
            "is refused by the entity's validator" if first["type"] in _WRITTEN else reason,
            hint="correct the row, or the entity",
            entity=self.collection.entity,
            field=field,
        )

    def _unknown(self, name: str, names: tuple[str, ...]) -> RefusedValueError:
        """Return the error for a column that is no field.

        Its name is not shown unless it surely is one: in a file without a header it is a value.
        """
        fields = self.collection.names
        close = get_close_matches(name, fields, n=1)
        known = f"known fields: {', '.join(fields)}"
        other = next((mark for mark in _OTHERS if mark in name), None)
        if len(names) == 1 and other and set(name.split(other)) & set(fields):
            return RefusedValueError(
                f"the columns seem to be separated by {_OTHERS[other]}",
                hint="separate them by commas",
                entity=self.collection.entity,
            )
        shown = close or (self._cells and set(names) & set(fields))
        return RefusedValueError(
            f"{name!r} is no field"
            if shown
            else f"value {names.index(name) + 1} of the row belongs to no field",
            hint=f"did you mean {close[0]!r}?" if close else known,
            entity=self.collection.entity,
        )
