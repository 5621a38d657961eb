"""Entities with every annotation that pydantic users bring, and values of each."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import (
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    FilePath,
    FutureDate,
    FutureDatetime,
    HttpUrl,
    IPvAnyAddress,
    JsonValue,
    NaiveDatetime,
    PastDate,
    PastDatetime,
    PlainSerializer,
    PositiveInt,
    PrivateAttr,
    RootModel,
    SecretStr,
    StrictInt,
    StringConstraints,
    computed_field,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from healthstore.entity import Digits, Entity, MaxLength, Milliseconds
from healthstore.model.values import Kind

__all__ = (
    "CHANGED",
    "COLUMNS",
    "JSON",
    "REFUSED",
    "TWICE",
    "TWINS",
    "Columns",
    "Documents",
    "Early",
    "Later",
    "Point",
    "dose",
)

BERLIN = ZoneInfo("Europe/Berlin")
# The clock shows this time twice: once in summer, an hour later in winter.
TWICE = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    SMALL = "s"
    LARGE = "l"


class Grade(IntEnum):
    LOW = 1
    HIGH = 2


class Right(IntFlag):
    READ = 1
    WRITE = 2


Name = NewType("Name", str)
Key = NewType("Key", UUID)
Mass: TypeAlias = Annotated[Decimal, Digits(6, 2)]
MaybeMass: TypeAlias = "Mass | None"


class Dose(BaseModel):
    """A strict model that takes nothing else, by its alias, with something computed."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True, strict=True)

    amount: Decimal = Field(alias="theAmount")
    at: datetime
    colour: Colour = Colour.RED
    steps: tuple[int, ...] = ()
    _seen: int = PrivateAttr(default=0)

    @computed_field(return_type=str)  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def text(self) -> str:
        """Say how much it is."""
        return f"{self.amount} mg"


@dataclass
class Point:
    x: Decimal
    at: datetime | None = None


@checked_dataclass
class Checked:
    x: Annotated[int, Field(ge=0)]
    part: Point | None = None


class Pair(NamedTuple):
    left: Decimal
    right: str = ""


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: frozenset[str] = frozenset()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


@checked_dataclass
class Derived:
    """A dataclass that takes what it is given, and works a field out of it."""

    mg: int
    ug: int = field(init=False, default=0)
    source: Any = field(default=None, compare=False)
    seen: int = field(init=False, default=0, compare=False)

    def __post_init__(self) -> None:
        self.ug = self.mg * 1000


class Careless(BaseModel):
    """A model that says that it is equal to anything."""

    shown: int = 0
    hidden: int = Field(default=0, exclude=True)

    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # as Python sets it


class Columns(Entity, collection="contract_columns"):
    """One field for each annotation that has a column of its own."""

    flag: bool = False
    number: int = 0
    strict: StrictInt = 0
    positive: PositiveInt = 1
    size: ByteSize = ByteSize(0)
    ratio: float = 0.0
    mass: MaybeMass = None
    cost: Annotated[Decimal, Field(max_digits=8, decimal_places=3)] = Decimal(0)
    text: str = ""
    name: Name | None = None
    short: Annotated[str, MaxLength(10), StringConstraints(to_lower=True)] = ""
    shorter: Annotated[str, StringConstraints(max_length=9), MaxLength(5)] = ""
    at: AwareDatetime = datetime(2026, 1, 1, tzinfo=UTC)
    at_ms: Annotated[datetime, Milliseconds()] | None = None
    past: PastDatetime | None = None
    born: PastDate | None = None
    day: date = date(2026, 1, 1)
    clock: time = time(0)
    span: timedelta = timedelta(0)
    key: Key | None = None
    blob: bytes = b""
    colour: Colour = Colour.RED
    letter: Size | None = None
    grade: Grade = Grade.LOW
    right: Right = Right.READ
    state: Literal["open", "closed", None] = None  # noqa: PYI061 - as some write it
    level: Literal[1, 2] = 1
    only: Literal[Colour.RED, Colour.BLUE] | None = None
    graded: Literal[Grade.LOW, Grade.HIGH] | None = None
    sure: Literal[True] | None = None
    either: Literal["a"] | Literal["b"] | None = None  # noqa: PYI030 - as some write it
    url: AnyUrl | None = None
    link: HttpUrl | None = None
    ip: IPv4Address | None = None
    ip6: IPv6Address | None = None
    any_ip: IPvAnyAddress | None = None
    net: IPv4Network | None = None
    net6: IPv6Network | None = None
    face: IPv4Interface | None = None
    face6: IPv6Interface | None = None
    path: Path | None = None
    pure: PurePosixPath | None = None
    zone: ZoneInfo | None = None


# (field, the kind that it is kept as, one value, another)
COLUMNS: tuple[tuple[str, Kind, object, object], ...] = (
    ("flag", Kind.BOOLEAN, True, False),
    ("number", Kind.INTEGER, -3, 2**60),
    ("strict", Kind.INTEGER, -3, 4),
    ("positive", Kind.INTEGER, 3, 4),
    ("size", Kind.INTEGER, ByteSize(5), ByteSize(2**40)),
    ("ratio", Kind.FLOAT, 0.1, -1e300),
    ("mass", Kind.DECIMAL, Decimal("1.50"), Decimal("-9999.99")),
    ("cost", Kind.DECIMAL, Decimal("1.125"), Decimal(7)),
    ("text", Kind.TEXT, "é", "Z"),
    ("name", Kind.TEXT, Name("Ann"), Name("bob")),
    ("short", Kind.TEXT, "ab", "cd"),
    ("shorter", Kind.TEXT, "abcde", ""),
    ("at", Kind.DATETIME, datetime(2026, 7, 1, 12, tzinfo=BERLIN), datetime(1, 2, 3, tzinfo=UTC)),
    ("at_ms", Kind.DATETIME, datetime(2026, 7, 1, microsecond=1000, tzinfo=UTC), None),
    ("past", Kind.DATETIME, datetime(2020, 7, 1, microsecond=1, tzinfo=UTC), None),
    ("born", Kind.DATE, date(1944, 2, 29), None),
    ("day", Kind.DATE, date(9999, 12, 30), date(1, 1, 2)),
    ("clock", Kind.TIME, time(23, 59, 59, 999_999), time(1)),
    ("span", Kind.DURATION, timedelta(days=-1), timedelta(microseconds=1)),
    ("key", Kind.UUID, Key(UUID(int=7)), None),
    ("blob", Kind.BYTES, b"\0'", b"x"),
    ("colour", Kind.ENUM, Colour.BLUE, Colour.RED),
    ("letter", Kind.ENUM, Size.LARGE, None),
    ("grade", Kind.INTEGER, Grade.HIGH, Grade.LOW),
    ("right", Kind.INTEGER, Right.READ | Right.WRITE, Right.WRITE),
    ("state", Kind.ENUM, "open", None),
    ("level", Kind.INTEGER, 2, 1),
    ("only", Kind.ENUM, Colour.BLUE, None),
    ("graded", Kind.INTEGER, Grade.HIGH, None),
    ("sure", Kind.BOOLEAN, True, None),
    ("either", Kind.ENUM, "b", "a"),
    ("url", Kind.TEXT, AnyUrl("ftp://a.example/ü?x=1"), AnyUrl("http://b.example")),
    ("link", Kind.TEXT, HttpUrl("https://a.example/'%"), None),
    ("ip", Kind.TEXT, IPv4Address("255.255.255.255"), IPv4Address("10.0.0.1")),
    ("ip6", Kind.TEXT, IPv6Address("fe80::1%eth0"), IPv6Address("::1")),
    ("any_ip", Kind.TEXT, IPv6Address("::1"), IPv4Address("10.0.0.1")),
    ("net", Kind.TEXT, IPv4Network("255.255.255.0/24"), None),
    ("net6", Kind.TEXT, IPv6Network("2001:db8::/32"), None),
    ("face", Kind.TEXT, IPv4Interface("192.168.100.200/24"), None),
    ("face6", Kind.TEXT, IPv6Interface("::1/64"), None),
    ("path", Kind.TEXT, Path("a") / "b c", Path("ä")),
    ("pure", Kind.TEXT, PurePosixPath("/etc/x"), None),
    ("zone", Kind.TEXT, ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")),
)


class Documents(Entity, collection="contract_documents"):
    """One field for each annotation that is kept as JSON."""

    value: JsonValue = None
    anything: Any = None
    listed: list[Any] = Field(default=[])
    table: dict[str, JsonValue] = Field(default={})
    mixed: Literal["a", 1, None] = None  # noqa: PYI061 - as some write it
    union: int | str = 0
    dose: Dose | None = None
    doses: list[Dose] = Field(default=[])
    point: Point | None = None
    checked: Checked | None = None
    pair: Pair | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    open: Open | None = None
    root: RootModel[list[date]] | None = None
    numbers: set[int] = Field(default=set())
    fixed: tuple[int, str] | None = None
    many: tuple[Decimal, ...] = ()
    queue: deque[int] = Field(default=deque())
    grouped: defaultdict[str, list[int]] = Field(default=defaultdict(list))
    counted: Counter[str] = Field(default=Counter())
    mapping: Mapping[str, UUID] = Field(default={})
    words: AbstractSet[str] = frozenset()
    by_colour: dict[Colour, int] = Field(default={})
    sizes: list[Size] = Field(default=[])
    derived: Derived | None = None
    careless: list[Careless] = Field(default=[])
    instants: list[datetime] = Field(default=[])
    by_instant: dict[datetime, int] = Field(default={})
    clocks: dict[str, time] = Field(default={})


def dose(**values: object) -> Dose:
    given = {"theAmount": Decimal("1.50"), "at": datetime(2026, 1, 1, tzinfo=UTC), **values}
    return Dose.model_validate(given)


JSON: tuple[tuple[str, object], ...] = (
    ("value", {"b": [1, None, "x"], "a": 1.5}),
    ("value", None),
    ("anything", ["x", {"y": None}]),
    ("listed", [1, "x", None]),
    ("table", {"": None, "a.b": [True]}),
    ("mixed", 1),
    ("mixed", "a"),
    ("union", "5"),
    ("dose", dose(steps=(1, 2), colour=Colour.BLUE)),
    ("doses", [dose(), dose(theAmount=Decimal("0.10"))]),
    ("point", Point(Decimal("1.10"), datetime(2026, 1, 1, tzinfo=UTC))),
    ("checked", Checked(3, Point(Decimal(1)))),
    ("pair", Pair(Decimal(1), "r")),
    ("pet", Dog(tricks=frozenset({"sit"}))),
    ("open", Open.model_validate({"more": [1]})),
    ("root", RootModel[list[date]]([date(2026, 1, 1)])),
    ("numbers", {3, 1, 2}),
    ("fixed", (1, "x")),
    ("many", (Decimal("1.10"), Decimal(2))),
    ("queue", deque([3, 1])),
    ("grouped", defaultdict(list, a=[1])),
    ("counted", Counter("abca")),
    ("mapping", {"k": UUID(int=1)}),
    ("words", frozenset({"a", "b"})),
    ("by_colour", {Colour.BLUE: 1}),
    ("sizes", [Size.LARGE]),
    ("derived", Derived(5, source=["x"])),
    ("careless", [Careless(shown=1)]),
    ("instants", [datetime(2026, 1, 1, tzinfo=UTC)]),
    ("by_instant", {datetime(2026, 1, 1, tzinfo=UTC): 1}),
    ("clocks", {"a": time(1, 2, 3, 4)}),
)

_NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - it is to be refused


class Word(str):
    __slots__ = ()


def _derived(**values: object) -> Derived:
    made = Derived(5)
    for name, value in values.items():
        setattr(made, name, value)
    return made


# (field, a value that is equal to what is stored, and looks different)
TWINS: tuple[tuple[str, object], ...] = (
    ("at", datetime(2026, 7, 1, 12, tzinfo=BERLIN)),
    ("at", TWICE.replace(fold=1)),
    ("at_ms", "2026-07-01T12:00:00+02:00"),
    ("mass", Decimal(1)),
    ("mass", Decimal("-0")),
    ("cost", Decimal("1.5E+1")),
    ("ratio", -0.0),
    ("clock", time(1, fold=1)),
    ("instants", [datetime(2026, 7, 1, 12, tzinfo=BERLIN)]),
    ("doses", [dose(at=TWICE)]),
    ("anything", {"b": 1, "a": -0.0}),
    ("text", "plain"),
)

# (field, a value that would come back changed, a word of the reason)
CHANGED: tuple[tuple[str, object, str], ...] = (
    ("anything", Size.SMALL, "another value"),
    ("anything", Grade.LOW, "another value"),
    ("anything", Right.READ, "another value"),
    ("anything", Word("x"), "another value"),
    ("anything", [{"a": [Word("x")]}], "another value"),
    ("anything", OrderedDict(a=1), "another value"),
    ("listed", [Size.SMALL], "another value"),
    ("listed", [{Size.SMALL: 1}], "another value"),
    ("listed", [defaultdict(list)], "another value"),
    ("open", Open.model_validate({"more": Size.SMALL}), "another value"),
    ("derived", _derived(ug=1), "another value"),
    ("derived", _derived(source=(1,)), "another value"),
    ("derived", _derived(source=Grade.HIGH), "another value"),
    ("derived", _derived(seen=3), "another value"),
    ("careless", [Careless(hidden=3)], "another value"),
    ("instants", [_NAIVE], "naive"),
    ("by_instant", {_NAIVE: 1}, "naive"),
    ("clocks", {"a": time(1, tzinfo=UTC)}, "zone"),
    ("dose", dose(at=_NAIVE), "naive"),
    ("doses", [dose(), dose(at=_NAIVE)], "naive"),
    ("point", Point(Decimal(1), _NAIVE), "naive"),
    ("checked", Checked(3, Point(Decimal(1), _NAIVE)), "naive"),
)


class Secret(BaseModel):
    word: SecretStr


class Hidden(BaseModel):
    first: Literal[Colour.RED]


@dataclass
class Fixed:
    mg: int
    unit: str = field(init=False, default="mg")


class Held(NamedTuple):
    fixed: Fixed


# (annotation, a word of what to use instead)
REFUSED: tuple[tuple[object, str], ...] = (
    (SecretStr, "repr=False"),
    (SecretStr | None, "repr=False"),
    (list[SecretStr], "repr=False"),
    (Secret, "repr=False"),
    (FutureDate, "date"),
    (dict[str, FutureDatetime], "AwareDatetime"),
    (NaiveDatetime, "AwareDatetime"),
    (FilePath, "Path"),
    (Sequence[str], "tuple"),
    (Iterable[int], "list"),
    (OrderedDict[str, int], "list[tuple"),
    (list[OrderedDict[str, int]], "list[tuple"),
    (Callable[[int], str], "str"),
    (type[int], "str"),
    (complex, "float"),
    (Decimal, "Digits"),
    (Base64Bytes, "computed_field"),
    (Annotated[str, PlainSerializer(lambda _: "sealed")], "computed_field"),
    (Optional[Annotated[int, PlainSerializer(str)]], "computed_field"),  # noqa: UP045 - for pyright
    (Hidden, "enum"),
    (Fixed, "property"),
    (list[Fixed], "property"),
    (dict[str, Held | None], "property"),
    (None, "plain type"),
)


class Early(Entity, collection="contract_early"):
    later: Later
    mass: LaterMass | None = None


class Later(BaseModel):
    n: int


LaterMass: TypeAlias = Annotated[Decimal, Digits(4, 1)]
