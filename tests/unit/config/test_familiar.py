"""The variables that services already have work as they are, alone and together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import BackendURL, Host
from healthstore.config import Loaded, MemberSettings, read_settings
from healthstore.config.familiar import url_of
from healthstore.errors import ConfigurationError


def read(**environ: str) -> Loaded:
    """Read an environment, and nothing else."""
    return read_settings(environ=environ, dotenv=None)


def members(**environ: str) -> tuple[MemberSettings, ...]:
    """Return the members of an environment."""
    return read(**environ).settings.members


def names(**environ: str) -> list[str]:
    """Return the names of the members of an environment."""
    return [each.name for each in members(**environ)]


def quoted(text: str) -> dict[str, str]:
    """Return the environment that a service's documentation shows."""
    rows = (row.strip().removeprefix("export ") for row in text.splitlines())
    pairs = (row.partition("=") for row in rows if row and not row.startswith("#"))
    return {name: value.strip('"') for name, _, value in pairs}


def refused(**environ: str) -> str:
    """Return the error of an environment that is refused."""
    with pytest.raises(ConfigurationError) as error:
        read(**environ)
    assert error.value.hint
    return str(error.value)


# --- what the five services' own documents show --------------------------------------------------

GUTSAFE = """
    DB_TYPE=postgresql
    DB_HOST=localhost
    DB_PORT=5432
    DB_NAME=gutsafe_dev
    DB_USER=gutsafe
    DB_PASSWORD=dev_password
    DB_SSL=false
"""
GUTSAFE_PRODUCTION = """
    DB_TYPE=postgresql
    DB_HOST=your-production-host
    DB_PORT=5432
    DB_NAME=gutsafe_prod
    DB_USER=gutsafe_prod
    DB_PASSWORD=secure_production_password
    DB_SSL=true
"""
MEAL_PREP = """
    POSTGRES_DB=mealprep
    POSTGRES_USER=mealprep
    POSTGRES_PASSWORD=mealprep_secure_2024
    export DATABASE_URL="postgresql://mealprep:mealprep_secure_2024@localhost:35432/mealprep"
"""
WELLSENSE_MONGODB = """
    # .env configuration
    PRIMARY_DATABASE=mongodb
    MONGODB_URI=mongodb://localhost:27017/wellsense-ai
"""
WELLSENSE_MYSQL = """
    # .env configuration
    PRIMARY_DATABASE=mysql
    MYSQL_HOST=localhost
    MYSQL_PORT=3306
    MYSQL_USER=root
    MYSQL_PASSWORD=your_password
    MYSQL_DATABASE=wellsense_ai
"""
WELLSENSE_POSTGRESQL = """
    # .env configuration
    PRIMARY_DATABASE=postgresql
    POSTGRES_HOST=localhost
    POSTGRES_PORT=5432
    POSTGRES_USER=postgres
    POSTGRES_PASSWORD=your_password
    POSTGRES_DATABASE=wellsense_ai
"""
WELLSENSE_SQLITE = """
    # .env configuration
    PRIMARY_DATABASE=sqlite
    SQLITE_PATH=./data/wellsense-ai.db
    ENABLE_SQLITE=true
"""
WELLSENSE_DEVELOPMENT = """
    # Use SQLite for development (no setup required)
    PRIMARY_DATABASE=sqlite
    SQLITE_PATH=./data/dev-wellsense-ai.db
"""
WELLSENSE_PRODUCTION = """
    # Primary database
    PRIMARY_DATABASE=mongodb
    MONGODB_URI=mongodb://cluster1.mongodb.net/wellsense-ai

    # Backup databases
    MYSQL_HOST=backup-mysql.example.com
    POSTGRES_HOST=backup-postgres.example.com
"""

SHOWN = {
    GUTSAFE: BackendURL(
        "postgresql",
        hosts=(Host("localhost", 5432),),
        user="gutsafe",
        password="dev_password",
        database="gutsafe_dev",
        options={"tls": "off"},
    ),
    GUTSAFE_PRODUCTION: BackendURL(
        "postgresql",
        hosts=(Host("your-production-host", 5432),),
        user="gutsafe_prod",
        password="secure_production_password",
        database="gutsafe_prod",
        options={"tls": "verify"},
    ),
    MEAL_PREP: BackendURL(
        "postgresql",
        hosts=(Host("localhost", 35432),),
        user="mealprep",
        password="mealprep_secure_2024",
        database="mealprep",
    ),
    WELLSENSE_MONGODB: BackendURL(
        "mongodb", hosts=(Host("localhost", 27017),), database="wellsense-ai"
    ),
    WELLSENSE_MYSQL: BackendURL(
        "mysql",
        hosts=(Host("localhost", 3306),),
        user="root",
        password="your_password",
        database="wellsense_ai",
    ),
    WELLSENSE_POSTGRESQL: BackendURL(
        "postgresql",
        hosts=(Host("localhost", 5432),),
        user="postgres",
        password="your_password",
        database="wellsense_ai",
    ),
    WELLSENSE_SQLITE: BackendURL("sqlite", database="./data/wellsense-ai.db"),
    WELLSENSE_DEVELOPMENT: BackendURL("sqlite", database="./data/dev-wellsense-ai.db"),
}


@pytest.mark.parametrize("text", SHOWN)
def test_an_environment_works_as_the_services_show_it(text: str) -> None:
    """Each environment of the five services' documents, quoted, is one member as it means."""
    (member,) = members(**quoted(text))
    assert member.backend_url() == SHOWN[text]


def test_a_backup_without_a_database_is_refused_until_it_is_named() -> None:
    """No name is guessed for a backup's database: the error says which variable gives it."""
    shown = quoted(WELLSENSE_PRODUCTION)
    assert "MYSQL_DATABASE" in refused(**shown)
    shown["MYSQL_DATABASE"] = "wellsense_ai"
    assert "POSTGRES_DATABASE" in refused(**shown)
    shown["POSTGRES_DATABASE"] = "wellsense_ai"
    assert names(**shown) == ["mongodb", "mysql", "postgresql"]


def test_all_four_stores_of_one_environment_are_members_in_order() -> None:
    """The chosen one comes first, the others in the order mongodb, mysql, postgresql, sqlite."""
    every: dict[str, str] = {}
    for text in (WELLSENSE_SQLITE, WELLSENSE_POSTGRESQL, WELLSENSE_MYSQL, WELLSENSE_MONGODB):
        every |= quoted(text)
    order = ["mongodb", "mysql", "postgresql", "sqlite"]
    assert names(**every) == order
    del every["PRIMARY_DATABASE"]
    assert names(**every) == order
    for chosen in order:
        rest = [each for each in order if each != chosen]
        assert names(**every, PRIMARY_DATABASE=chosen) == [chosen, *rest]
    assert names(**{**every, "ENABLE_SQLITE": "false"}) == order[:3]


def test_a_replica_is_a_read_only_member() -> None:
    """PRIMARY_DATABASE_URL comes first; REPLICA_DATABASE_URL is ``replica``, never written to."""
    primary, replica = members(
        PRIMARY_DATABASE_URL="postgresql://a/d", REPLICA_DATABASE_URL="postgresql://b/d"
    )
    assert (primary.name, primary.read_only) == ("postgresql", False)
    assert (replica.name, replica.read_only) == ("replica", True)
    assert "REPLICA_DATABASE_URL" in refused(REPLICA_DATABASE_URL="postgresql://b/d")


def test_limits_hold_for_every_member() -> None:
    """MAX_DB_CONNECTIONS sizes pools, SLOW_QUERY_THRESHOLD is in milliseconds."""
    loaded = read(
        DATABASE_URL="postgresql://a/d",
        MYSQL_DATABASE="d",
        MAX_DB_CONNECTIONS="20",
        SLOW_QUERY_THRESHOLD="500",
    )
    for each in loaded.settings.members:
        assert (each.pool_size, each.slow_seconds) == (20, 0.5)
    origin = loaded.origins["members.mysql.pool_size"]
    assert str(origin) == "environment variable MAX_DB_CONNECTIONS"
    for name in ("MAX_DB_CONNECTIONS", "SLOW_QUERY_THRESHOLD"):
        text = refused(DATABASE_URL="memory://", **{name: "many-77231977"})
        assert name in text
        assert "77231977" not in text


# --- together -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "both"),
    [
        (
            {"DATABASE_URL": "mysql://h/d", "DB_TYPE": "postgresql"},
            ("DATABASE_URL", "DB_TYPE"),
        ),
        (
            {"DATABASE_URL": "mysql://h/d", "PRIMARY_DATABASE": "sqlite", "SQLITE_PATH": "a.db"},
            ("DATABASE_URL", "PRIMARY_DATABASE"),
        ),
        (
            {"DATABASE_URL": "mysql://h/d", "PRIMARY_DATABASE_URL": "mysql://g/d"},
            ("DATABASE_URL", "PRIMARY_DATABASE_URL"),
        ),
        (
            {"DATABASE_URL": "mysql://h/d", "DB_HOST": "g", "DB_NAME": "d"},
            ("DATABASE_URL", "DB_HOST"),
        ),
        (
            {"DATABASE_URL": "mysql://u:one@h/d", "DB_NAME": "d", "DB_PASSWORD": "two"},
            ("DATABASE_URL", "DB_PASSWORD"),
        ),
        (
            {"DATABASE_URL": "postgresql://h/d", "POSTGRES_HOST": "h", "POSTGRES_PORT": "1"},
            ("DATABASE_URL", "POSTGRES_PORT"),
        ),
        (
            {"POSTGRES_DB": "a", "POSTGRES_DATABASE": "b"},
            ("POSTGRES_DB", "POSTGRES_DATABASE"),
        ),
        (
            {"PRIMARY_DATABASE": "sqlite", "SQLITE_PATH": "a.db", "ENABLE_SQLITE": "false"},
            ("PRIMARY_DATABASE", "ENABLE_SQLITE"),
        ),
        (
            {"DATABASE_URL": "mongodb://h/d", "MONGODB_URI": "mongodb://g/d"},
            ("DATABASE_URL", "MONGODB_URI"),
        ),
    ],
)
def test_names_that_disagree_are_refused_naming_both(
    environ: dict[str, str], both: tuple[str, str]
) -> None:
    """No variable wins silently over another that says something else."""
    text = refused(**environ)
    for name in both:
        assert f"environment variable {name}" in text


def test_names_that_agree_are_one_member() -> None:
    """The same store in several spellings is one member; parts add what the URL leaves out."""
    (member,) = members(
        DATABASE_URL="postgres://ann@Db.example.org/clinic",
        PRIMARY_DATABASE_URL="postgresql://ann@db.example.org:5432/clinic",
        PRIMARY_DATABASE="postgresql",
        DB_TYPE="postgresql",
        DB_HOST="db.example.org",
        DB_PORT="5432",
        DB_PASSWORD="p@ss:/%",
        DB_SSL="true",
        POSTGRES_DB="clinic",
        POSTGRES_USER="ann",
    )
    url = member.backend_url()
    assert (url.password, url.options) == ("p@ss:/%", {"tls": "verify"})


def test_a_url_and_parts_of_another_kind_are_two_members() -> None:
    """DATABASE_URL comes first; the variables of another kind enable a secondary."""
    url = "postgresql://h/d"
    assert names(DATABASE_URL=url, MYSQL_HOST="h", MYSQL_DATABASE="d") == ["postgresql", "mysql"]


def test_parts_that_name_no_store_enable_nothing() -> None:
    """A user or a password alone, as a database's container image takes them, is no member."""
    assert names(DATABASE_URL="sqlite:///a.db", POSTGRES_PASSWORD="x", MYSQL_USER="y") == ["sqlite"]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"DB_HOST": "h", "DB_NAME": "d"}, ("DB_HOST", "DB_TYPE")),
        ({"DB_TYPE": "postgresql", "DB_HOST": "h"}, ("DB_TYPE", "DB_NAME")),
        ({"DB_TYPE": "postgrsql", "DB_NAME": "d"}, ("DB_TYPE", "'postgresql'")),
        ({"DB_TYPE": "mysql", "DB_NAME": "d", "DB_PORT": "x"}, ("DB_PORT",)),
        ({"DB_TYPE": "mysql", "DB_NAME": "d", "DB_PORT": "70000"}, ("DB_PORT", "65535")),
        ({"DB_TYPE": "mysql", "DB_NAME": "d", "DB_SSL": "maybe"}, ("DB_SSL", "encrypt")),
        ({"PRIMARY_DATABASE": "mongodb"}, ("PRIMARY_DATABASE", "MONGODB_URI")),
        ({"PRIMARY_DATABASE": "mysql"}, ("PRIMARY_DATABASE", "MYSQL_HOST")),
        ({"PRIMARY_DATABASE": "memory"}, ("PRIMARY_DATABASE", "mongodb, mysql")),
        ({"ENABLE_SQLITE": "true"}, ("ENABLE_SQLITE", "SQLITE_PATH")),
        ({"ENABLE_SQLITE": "perhaps", "SQLITE_PATH": "a"}, ("ENABLE_SQLITE", "true")),
        ({"MONGODB_URI": "mysql://h/d"}, ("MONGODB_URI", "mongodb")),
        ({"DATABASE_URL": "nonsense"}, ("DATABASE_URL", "scheme://")),
    ],
)
def test_what_is_missing_or_wrong_is_named(environ: dict[str, str], told: tuple[str, ...]) -> None:
    """The error names the variable that is wrong and the one that is missing."""
    text = refused(**environ)
    assert all(each in text for each in told), text


def test_encrypt_without_verification_is_spelled_out() -> None:
    """DB_SSL=true verifies; only DB_SSL=encrypt does not."""
    parts = {"DB_TYPE": "mysql", "DB_NAME": "d", "DB_HOST": "h"}
    found = {
        text: members(**parts, DB_SSL=text)[0].tls
        for text in ("true", "1", "TRUE", "encrypt", "off")
    }
    assert found == {
        "true": "verify",
        "1": "verify",
        "TRUE": "verify",
        "encrypt": "encrypt",
        "off": "off",
    }


def test_the_environment_completes_a_dotenv_file_and_goes_before_it(folder: Path) -> None:
    """A password may come from outside; a store that the environment names replaces the file's."""
    (folder / ".env").write_text(WELLSENSE_POSTGRESQL + "MYSQL_DATABASE=d\n", "utf-8")

    def found(**environ: str) -> list[str]:
        loaded = read_settings(environ=environ)
        return [f"{each.name} {each.backend_url()}" for each in loaded.settings.members]

    postgresql = "postgresql postgresql://postgres:***@localhost:5432/wellsense_ai"
    assert found() == [postgresql, "mysql mysql://localhost/d"]
    password = read_settings(environ={"POSTGRES_PASSWORD": "other"}).settings.members[0]
    assert password.backend_url().password == "other"
    assert found(PRIMARY_DATABASE="mysql") == ["mysql mysql://localhost/d", postgresql]
    assert found(DATABASE_URL="sqlite:///a.db") == ["sqlite sqlite:///a.db"]
    assert found(POSTGRES_HOST="db") == [postgresql.replace("localhost", "db")]


# --- parts of a URL -------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
HOSTS = st.from_regex(r"[\w.-]+", fullmatch=True) | st.ip_addresses().map(str)


@given(host=HOSTS, user=TEXT, password=TEXT, database=TEXT, port=st.integers(1, 65_535))
def test_any_text_survives_as_a_part_of_a_url(
    host: str, user: str, password: str, database: str, port: int
) -> None:
    """Whatever characters a part holds, the parsed URL holds the same part."""
    url = BackendURL.parse(
        url_of(
            "postgresql",
            host=host,
            port=str(port),
            user=user,
            password=password,
            database=database,
        )
    )
    assert url == BackendURL(
        "postgresql",
        hosts=(Host(host, port),),
        user=user or None,
        password=password,
        database=database,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_HOST", "http://h"),
        ("DB_HOST", "h/evil?x=1#"),
        ("DB_HOST", "h:5432"),
        ("DB_HOST", "a,b"),
        ("DB_HOST", "me@h"),
        ("DB_HOST", "h "),
        ("DB_HOST", "h\n"),
        ("DB_NAME", "d\n"),
        ("DB_NAME", "d\0"),
        ("DB_NAME", " d"),
        ("DB_USER", "u\t"),
        ("DB_USER", "u "),
        ("DB_PORT", "5432\n"),
        ("DB_PASSWORD", "s3cr3t-77231977\n"),
        ("DB_PASSWORD", "s3cr3t-77231977\0x"),
    ],
)
def test_a_part_that_cannot_be_meant_is_refused_by_its_variable(name: str, value: str) -> None:
    """A host that is none, space around a part, a control character: the variable is named."""
    given = {"DB_TYPE": "postgresql", "DB_HOST": "h", "DB_NAME": "d", name: value}
    text = refused(**given)
    assert name in text
    assert "s3cr3t" not in text


@pytest.mark.parametrize("host", ["db", "my_db", "db.example.org", "10.0.0.1", "::1", "/run/pg"])
def test_a_name_an_address_or_a_socket_is_a_host(host: str) -> None:
    """What can be reached is taken as it is."""
    (member,) = members(DB_TYPE="postgresql", DB_HOST=host, DB_NAME="d")
    assert member.backend_url().hosts == (Host(host),)


@pytest.mark.parametrize("name", ["DB_PASSWORD", "DB_SSL"])
def test_sqlite_has_no_password_and_no_tls(name: str) -> None:
    """A variable that would protect nothing is refused by its name."""
    text = refused(DB_TYPE="sqlite", DB_NAME="a.db", **{name: "true"})
    assert name in text
    assert "sqlite has none" in text


@pytest.mark.parametrize("name", ["DATABASE_URL", "HEALTHSTORE_PRIMARY", "MONGODB_URI"])
def test_white_space_around_a_url_does_not_count(folder: Path, name: str) -> None:
    """A line end or a space behind a URL, in a variable or a file, is no part of the database."""
    url = "mongodb://u:p@h/d"
    (folder / "url").write_text(f" {url} \n\n", "utf-8")
    (folder / "url").chmod(0o600)
    for environ in ({name: f" {url}\n"}, {f"{name}_FILE": "url"}):
        (member,) = members(**environ)
        assert member.backend_url() == BackendURL.parse(url)


@pytest.mark.parametrize("password", ["p@ss", "a:b", "a/b", "100%", "a?b#c", "%40", "ü €", "a,b"])
def test_a_password_needs_no_escapes(password: str) -> None:
    """Variables hold a password as it is; percent-encoding is ours."""
    (member,) = members(MYSQL_DATABASE="d", MYSQL_USER="u", MYSQL_PASSWORD=password)
    assert member.backend_url().password == password
