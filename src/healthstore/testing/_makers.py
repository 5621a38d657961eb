"""How the value of one field is made up: from its type, its constraints and its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import ceil, floor
from pathlib import Path, PurePath, PurePosixPath
from random import Random
from string import ascii_lowercase, digits
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin
from uuid import UUID

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import AwareDatetime, BaseModel, EmailStr, JsonValue
from pydantic.fields import FieldInfo

from healthstore.entity import Entity
from healthstore.entity.annotations import members, unwrap
from healthstore.errors import InvalidRequestError, MissingDriverError
from healthstore.model.decimals import of_units
from healthstore.model.query import And, Filter, Operator, OtherField, Test
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind
from healthstore.testing._lifelike import (
    FIRST_MOMENT,
    NOW,
    NUMBERS,
    PAST_DAYS,
    TEXTS,
    by_name,
    email_address,
    fixed_dates,
)
from healthstore.testing._scales import CLOCKS, Scale, days, decimals, floats

__all__ = ("Maker", "Makers", "Pool", "identity_at")

# From the number of the attempt, 0 for the first, to a value.
Maker: TypeAlias = Callable[[int], object]

_NONE_OF = 4  # one in so many optional values is None
_DRAWS = 10  # of a text that is too long, before it is cut; of one that is taken
_SHORT = 3  # so few code points that a unique text walks through all that there are
_LETTERS = ascii_lowercase + digits
_INT64 = 2**63 - 1
_WORDS = ("app", "watch", "clinic", "import")
_LIMITS = {Operator.GE: Ge, Operator.GT: Gt, Operator.LE: Le, Operator.LT: Lt}


def identity_at(instant: object, random: Random) -> UUID:
    """Return a UUID version 7 for an instant, the rest of it drawn."""
    moment = instant if isinstance(instant, datetime) else NOW.replace(tzinfo=UTC)
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    high = (milliseconds << 80) | (7 << 76) | (random.getrandbits(12) << 64)
    return UUID(int=high | (2 << 62) | random.getrandbits(62))


@dataclass(eq=False)
class Pool:
    """Draws one of a few values; each further attempt takes the next, every ``stride`` times."""

    choices: Sequence[object]
    random: Random
    stride: int = 1
    _start: int = field(default=0, init=False)

    def __call__(self, attempt: int) -> object:
        if attempt == 0:
            self._start = self.random.randrange(len(self.choices))
        return self.choices[(self._start + attempt // self.stride) % len(self.choices)]


class Makers:
    """Makes the makers of one entity's fields."""

    def __init__(self, entity: type[Entity], collection: Collection, random: Random) -> None:
        self._entity = entity
        self._collection = collection
        self._random = random
        self._tests = _required_tests(collection)

    @cached_property
    def faker(self) -> Any:
        """Faker, seeded, without the present moment."""
        try:
            from faker import Faker  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise _missing("faker") from error
        faker = Faker("en_US", use_weighting=False)
        faker.seed_instance(self._random.getrandbits(64))
        for name, replacement in fixed_dates(self._random):
            setattr(faker.factories[0], name, replacement)
        return faker

    def maker(self, name: str) -> Maker:
        """Return the maker of a field's values; one in four optional values is None."""
        declared = self._collection.field(name)
        info = self._entity.model_fields[name]
        annotation, _, given = unwrap(info.annotation, info.metadata)
        notes = [*_notes(given), *self._limits(name)]
        make = self._maker(name, declared.type, annotation, notes)
        if not declared.nullable or (isinstance(make, Pool) and None in make.choices):
            return make
        return self._optional(make)

    def _optional(self, make: Maker) -> Maker:
        def optional(attempt: int) -> object:
            return make(attempt) if self._random.randrange(_NONE_OF) else None

        return optional

    def _maker(
        self, name: str, kind: FieldType, annotation: object, notes: Sequence[object]
    ) -> Maker:
        choices = self._choices(name, annotation)
        if choices:
            return Pool(choices, self._random)
        if kind.kind is Kind.TEXT:
            return self._text(name, kind, notes) if annotation is str else self._by_type(name)
        if kind.kind is Kind.JSON:
            return self._json(name, annotation)
        if kind.kind is Kind.UUID:
            return lambda _: identity_at(self._moment(), self._random)
        if kind.kind is Kind.BYTES:
            low, high = _lengths(notes, 16)
            return lambda _: self._random.randbytes(self._random.randint(low, high))
        return self._number(name, kind, notes)

    def _choices(self, name: str, annotation: object) -> list[object]:
        """Return the values of a field that has only a few."""
        choices: list[object] = []
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            choices = list(annotation)
        elif get_origin(annotation) is Literal:
            choices = list(get_args(annotation))
        elif annotation is bool:
            choices = [False, True]
        for test in self._tests.get(name, ()):
            if test.operator in {Operator.EQ, Operator.IN}:
                listed = test.operand if isinstance(test.operand, tuple) else (test.operand,)
                choices = [each for each in choices or listed if each in listed]
        return choices

    def _limits(self, name: str) -> Iterator[object]:
        """Yield the limits that the entity's checks set to a field."""
        for test in self._tests.get(name, ()):
            if test.operator in _LIMITS and not isinstance(test.operand, str):
                yield _LIMITS[test.operator](cast(Any, test.operand))

    def _moment(self) -> datetime:
        seconds = int((NOW - FIRST_MOMENT).total_seconds())
        return FIRST_MOMENT.replace(tzinfo=UTC) + timedelta(seconds=self._random.randrange(seconds))

    # --- texts -----------------------------------------------------------------------------

    def _text(self, name: str, kind: FieldType, notes: Sequence[object]) -> Maker:
        if any(getattr(note, "pattern", None) is not None for note in notes):
            return self._by_type(name)
        random, faker = self._random, self.faker
        low, high = _lengths(notes, kind.max_length or 1_000)
        draw = by_name(TEXTS, self._entity.__name__, name)
        if high <= _SHORT and any(name in each.fields for each in self._collection.uniques):
            return Pool(_short_texts(max(low, 1), high), random)

        def text(attempt: int) -> str:
            made = ""
            for _ in range(_DRAWS):
                made = draw(random, faker) if draw else " ".join(faker.words(2))
                if len(made) <= high:
                    break
            if len(made) > high:
                made = made[:high].rpartition(" ")[0] or made[:high]
            while len(made) < low:
                made = f"{made} {faker.word()}".lstrip()[:high]
            if attempt > _DRAWS:  # what is usual is taken: tell them apart by a number
                number = str(random.randrange(2, 10 ** (1 + attempt // _DRAWS)))[-high:]
                made = f"{made[: max(high - len(number) - 1, 0)]} {number}".lstrip()
            return made

        return text

    # --- numbers, and what can be counted like them ----------------------------------------

    def _number(self, name: str, kind: FieldType, notes: Sequence[object]) -> Maker:
        scale = self._scale(name, kind, notes)
        low, high, step = scale.limits[0], scale.limits[1], 1
        below = above = False
        for note in notes:
            if isinstance(note, Ge):
                low, below = max(low, ceil(scale.number(note.ge))), True
            elif isinstance(note, Gt):
                low, below = max(low, floor(scale.number(note.gt)) + 1), True
            elif isinstance(note, Le):
                high, above = min(high, floor(scale.number(note.le))), True
            elif isinstance(note, Lt):
                high, above = min(high, ceil(scale.number(note.lt)) - 1), True
            elif isinstance(note, MultipleOf):
                step = max(1, int(scale.number(note.multiple_of)))
        usual = max(low, scale.usual[0]), min(high, scale.usual[1])
        if usual[0] > usual[1]:  # what is usual is not allowed: near the limit, then
            width = scale.usual[1] - scale.usual[0]
            usual = (
                (low, min(high, low + width))
                if below or not above
                else (max(low, high - width), high)
            )
        first, last = ceil(Fraction(usual[0], step)), floor(Fraction(usual[1], step))
        if first > last:
            first, last = ceil(Fraction(low, step)), floor(Fraction(high, step))
        if first > last:
            raise self._unmade(name, "fake() finds no value within its limits")
        return lambda _: scale.value(self._random.randint(first, last) * step)

    def _scale(self, name: str, kind: FieldType, notes: Sequence[object]) -> Scale:
        usual = by_name(NUMBERS, self._entity.__name__, name)
        if kind.kind is Kind.INTEGER:
            low, high = usual or (0, 1_000)
            return Scale((ceil(low), floor(high)), (-_INT64, _INT64), Fraction, int)
        if kind.kind is Kind.DECIMAL:
            return decimals(usual or (0, 100), kind)
        if kind.kind is Kind.FLOAT:
            return floats(usual or (0, 100), notes)
        if kind.kind is Kind.DATE:
            usual_days = by_name(PAST_DAYS, self._entity.__name__, name)
            return days(usual_days or (FIRST_MOMENT.date(), NOW.date() - timedelta(days=1)))
        return CLOCKS[kind.kind]

    # --- JSON and patterns: polyfactory -----------------------------------------------------

    def _json(self, name: str, annotation: object) -> Maker:
        if annotation in {dict, Any, object, JsonValue} or _is_free_object(annotation):
            return lambda _: self._small_object()
        return self._by_type(name)

    def _small_object(self) -> dict[str, object]:
        return {
            "note": " ".join(self.faker.words(3)),
            "score": self._random.randint(1, 10),
            "source": self._random.choice(_WORDS),
        }

    def _by_type(self, name: str) -> Maker:
        meta = self._metas[name]
        info = self._entity.model_fields[name]

        def by_type(_: int) -> object:
            try:
                return self._factory.get_field_value(meta)
            except Exception:  # noqa: BLE001 - polyfactory's, pydantic's and the model's own
                if not info.is_required():
                    return info.get_default(call_default_factory=True, validated_data={})
                raise self._unmade(name, "fake() cannot make up its type") from None

        return by_type

    def _unmade(self, name: str, message: str) -> InvalidRequestError:
        return InvalidRequestError(
            message,
            hint=f"give its value: fake({self._entity.__name__}, ..., {name}=...)",
            entity=self._collection.entity,
            field=name,
        )

    @cached_property
    def _metas(self) -> Mapping[str, Any]:
        metas = {each.name: _present(each) for each in self._factory.get_model_fields()}
        for each in metas.values():
            each.required = True  # else it may leave the field to its default
        return metas

    @cached_property
    def _factory(self) -> Any:
        try:
            from polyfactory.factories.pydantic_factory import (  # noqa: PLC0415 - an extra
                ModelFactory,
            )
        except ModuleNotFoundError as error:
            raise _missing("polyfactory") from error
        makers = self

        def get_provider_map(cls: Any) -> dict[Any, Callable[[], Any]]:
            inherited: Any = super(factory, cls)
            return {**inherited.get_provider_map(), **makers._providers()}

        def get_field_value(cls: Any, meta: Any, *rest: Any, **named: Any) -> object:
            # Of few keys or members it would look for more than there are, for ever.
            if meta.children and _has_few_values(meta.children[0].annotation):
                if _is_a(meta.annotation, Mapping):
                    return {
                        cls.get_field_value(meta.children[0]): cls.get_field_value(meta.children[1])
                    }
                if _is_a(meta.annotation, AbstractSet):
                    return {cls.get_field_value(meta.children[0])}
            inherited: Any = super(factory, cls)
            return inherited.get_field_value(meta, *rest, **named)

        namespace: dict[str, object] = {
            "__model__": self._entity,
            "__check_model__": False,
            "__random__": self._random,
            "__faker__": self.faker,
            "__randomize_collection_length__": True,
            "__min_collection_length__": 1,
            "__max_collection_length__": 3,
            "get_field_value": classmethod(get_field_value),
            "get_provider_map": classmethod(get_provider_map),
        }
        factory: Any = type(f"{self._entity.__name__}Fake", (ModelFactory,), namespace)
        factory.__base_factory_overrides__ = {BaseModel: factory}
        return factory

    def _providers(self) -> dict[Any, Callable[[], object]]:
        random, faker = self._random, self.faker
        return {
            Any: faker.word,
            JsonValue: faker.word,
            str: faker.word,
            EmailStr: lambda: email_address(random, faker),
            **dict.fromkeys((Path, PurePath, PurePosixPath), lambda: "/".join(faker.words(2))),
            int: lambda: random.randint(0, 100),
            float: lambda: random.randint(0, 10_000) / 100,
            bytes: lambda: random.randbytes(8),
            bool: lambda: random.random() < 0.5,
            Decimal: lambda: of_units(random.randint(0, 10_000), 2),
            UUID: lambda: identity_at(self._moment(), random),
            datetime: self._moment,
            AwareDatetime: self._moment,
            date: lambda: self._moment().date(),
            time: lambda: time(random.randrange(24), random.randrange(60)),
            timedelta: lambda: timedelta(minutes=random.randrange(1, 600)),
            dict: self._small_object,
            list: lambda: faker.words(2),
        }


def _missing(library: str) -> MissingDriverError:
    return MissingDriverError(
        f"fake() needs the library {library!r}",
        hint='python -m pip install "healthstore[testing]"',
    )


def unwrapped_optional(annotation: object) -> object:
    """Return ``X`` for ``X | None``, and anything else as it is."""
    if get_origin(annotation) in {Union, UnionType}:
        rest = [part for part in get_args(annotation) if part is not NoneType]
        if len(rest) == 1:
            return rest[0]
    return annotation


def _notes(metadata: Iterable[object]) -> Iterator[object]:
    for note in metadata:
        if isinstance(note, FieldInfo):
            yield from _notes(note.metadata)
        elif isinstance(note, GroupedMetadata):
            yield from _notes(note)
        else:
            yield note


def _short_texts(low: int, high: int) -> list[str]:
    """Return every text of these lengths that is made of small letters and digits."""
    sizes = range(low, high + 1)
    return ["".join(each) for size in sizes for each in product(_LETTERS, repeat=size)]


def _lengths(notes: Iterable[object], longest: int) -> tuple[int, int]:
    low, high = 0, longest
    for note in notes:
        if isinstance(note, MinLen):
            low = max(low, note.min_length)
        elif isinstance(note, MaxLen):
            high = min(high, note.max_length)
    return low, max(low, high)


def _required_tests(collection: Collection) -> dict[str, list[Test]]:
    """Return, by field, the tests that each check is made of if it is a conjunction."""
    tests: dict[str, list[Test]] = {}
    for check in collection.checks:
        parts: tuple[Filter, ...] = (
            check.rule.items if isinstance(check.rule, And) else (check.rule,)
        )
        for part in parts:
            if (
                isinstance(part, Test)
                and part.operand is not None
                and not isinstance(part.operand, OtherField)
            ):
                tests.setdefault(part.field, []).append(part)
    return tests


def _is_a(annotation: object, kind: type) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, kind)


def _present(meta: Any) -> Any:
    """Return what polyfactory knows of a field when it is not None."""
    annotation = unwrapped_optional(meta.annotation)
    for child in meta.children or ():
        if child.annotation == annotation:  # with its own parts: of a tuple, each member's
            return child
    meta.annotation = annotation
    return meta


def _has_few_values(annotation: object) -> bool:
    return annotation is bool or bool(members(annotation))


def _is_free_object(annotation: object) -> bool:
    arguments = get_args(annotation)
    return (
        _is_a(annotation, Mapping)
        and len(arguments) == 2
        and arguments[1] in {JsonValue, Any, object}
    )
