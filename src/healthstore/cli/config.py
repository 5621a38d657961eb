"""The commands of ``config``: what is configured and from where, whether it can work, and files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from healthstore.abc.registry import connect
from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.output import Output
from healthstore.config.file import schema
from healthstore.config.read import masked, read_settings
from healthstore.config.settings import Profile

__all__ = ("check_config", "init_config", "schema_config", "show_config")

_TEMPLATE = """\
# The configuration of healthstore. Every setting and its default is in the documentation, at
# reference/configuration; `healthstore config schema` prints the schema for an editor.
# What is set here gives way to environment variables; `healthstore config show --origin` tells
# what is in effect. Check a change with `healthstore config check`.

profile = "development"         # or "test", "production": the last refuses what may lose data
# mock = "off"                  # or "reads", "on": data of its own when no member serves
# slow_seconds = 0.5            # operations that take longer are reported
# coalesce = true               # requests of several tasks that wait at once are sent together
# evolve = "off"                # or "additive": initialize() alters what no row stands against
# seed = "app.seeds:run"        # the function that `healthstore schema seed` calls with a manager

# idempotency_hours = 24        # how long add(..., idempotency_key=...) knows a request again
# cursor_key = "${CURSOR_KEY}"  # signs the positions of pages, which then nobody can make up

# The first member serves the repositories, the others follow in this order.
[[members]]
name = "main"
url = "sqlite:///healthstore.db"  # relative to the folder of the process; //// is absolute

# [[members]]
# name = "standby"
# url = "postgresql://app:${DB_PASSWORD}@db.example.org/app"  # a variable, or DB_PASSWORD_FILE
# tls = "verify"                # or "encrypt", "off"
# tls_ca = "/etc/ssl/db-ca.pem"
# pool_size = 20
# timeout = 30.0                # seconds; so are acquire_timeout and connect_timeout

# [pool]                        # for every member that says nothing else
# max_size = 10

# [failover]
# mode = "standby_readonly"     # or "none"; needs two members
# failback = "auto"             # or "manual"
# startup = "fail"              # or "degraded"

# [probe]
# interval = 2.0                # seconds between checks
# fall = 3                      # failed checks until a member is down
# rise = 3                      # good checks until it may serve again

# What goes before the rest in one profile; its members replace all others.
[profiles.development]
evolve = "additive"             # add a field to an entity, and go on

# [profiles.production]
# mock = "off"
#
# [[profiles.production.members]]
# url = "${DATABASE_URL}"
"""


async def show_config(
    output: Output, file: Path | None, profile: Profile | str | None, origin: bool
) -> int:
    """Show every setting in effect, without secrets, and with ``origin`` where it comes from."""
    loaded = read_settings(file=file, profile=profile)
    values = {
        name: "" if value is None else value for name, value in masked(loaded.settings).items()
    }
    rows = [
        (name, str(value), *([loaded.origins[name].text] if origin else []))
        for name, value in values.items()
    ]
    output.table(("setting", "value", *(["from"] if origin else [])), rows)
    origins = {name: each.text for name, each in loaded.origins.items()}
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "config show",
            "settings": masked(loaded.settings),
            **({"origins": origins} if origin else {}),
        }
    )
    return Exit.OK


async def check_config(output: Output, file: Path | None, profile: Profile | str | None) -> int:
    """Build every member without connecting; a mistake ends the command with its exit code."""
    settings = read_settings(file=file, profile=profile).settings
    checked: dict[str, str] = {}
    for member in settings.members:
        url = member.backend_url()
        connect(url, member.name)
        checked[member.name] = str(url)
        output.show(f"ok {member.name}: {url}")
    output.show(f"ok profile {settings.profile}")
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "config check",
            "profile": settings.profile.value,
            "members": checked,
        }
    )
    return Exit.OK


async def init_config(output: Output, path: Path) -> int:
    """Write a commented file that ``config check`` accepts; never over one that is there."""
    try:
        # For its owner only: passwords may come to stand in it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(
            Failure(
                "there is such a file already",
                str(path),
                "name another file, or remove this one",
                "refused",
                Exit.REFUSED,
            )
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_TEMPLATE)
    output.show(f"Wrote {path}. Check it with: healthstore config check")
    output.result({"ok": True, "exit": int(Exit.OK), "command": "config init", "file": str(path)})
    return Exit.OK


async def schema_config(output: Output) -> int:
    """Print the JSON schema of the file."""
    found = schema()
    output.show(json.dumps(found, indent=2))
    output.result({"ok": True, "exit": int(Exit.OK), "command": "config schema", "schema": found})
    return Exit.OK
