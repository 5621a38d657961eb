"""The gateway reads and writes MongoDB's wire protocol, and survives what is none."""

from __future__ import annotations

import contextlib
import struct

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.servers.mongodb_gateway.errors import CommandError, code_of, unpacked
from tests.servers.mongodb_gateway.wire import (
    MAX_MESSAGE,
    Request,
    WireError,
    parse,
    reply,
    size_of_next,
)
from tests.servers.replica_set import Collection, Document, RawConnection, needs_server

PING = bson.encode({"ping": 1, "$db": "admin"})
documents = st.dictionaries(st.text("abc", min_size=1), st.integers(0, 9)).map(bson.encode)


def message(sections: bytes, *, flags: int = 0, opcode: int = 2013) -> bytes:
    """Build a message of these sections."""
    body = struct.pack("<I", flags) + sections
    return struct.pack("<iiii", 16 + len(body), 5, 0, opcode) + body


def sequence(name: str, contents: bytes) -> bytes:
    """Build a section of kind 1."""
    inner = name.encode() + b"\0" + contents
    return struct.pack("<Bi", 1, 4 + len(inner)) + inner


# ---------------------------------------------------------------- without a server
@given(
    documents,
    st.dictionaries(st.text("abc", min_size=1), st.lists(documents).map(b"".join), max_size=3),
    st.sampled_from([0, 1]),
    st.sampled_from([0, 1]),
)
def test_a_message_is_read_as_it_was_written(
    body: bytes, sequences: dict[str, bytes], checksum: int, silent: int
) -> None:
    """Body, sequences and flags come out, whatever the order and with or without checksum."""
    sections = [sequence(name, contents) for name, contents in sequences.items()]
    sections.insert(len(sections) // 2, b"\0" + body)
    flags = checksum | silent * 2
    data = message(b"".join(sections) + b"\1\2\3\4" * checksum, flags=flags)
    assert size_of_next(data) == len(data)
    assert parse(data) == Request(5, body, sequences, answered=not silent)


@given(documents, st.binary(max_size=40), st.integers(0, 60))
def test_damaged_messages_are_refused_as_such(body: bytes, noise: bytes, at: int) -> None:
    """Whatever bytes come, the answer is a request or WireError and nothing else."""
    data = bytearray(message(b"\0" + body))
    data[16 + at % (len(data) - 16) :] = noise
    with contextlib.suppress(WireError):
        request = parse(bytes(data))
        assert request.body in bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(message(b""), id="no command"),
        pytest.param(message((b"\0" + PING) * 2), id="two commands"),
        pytest.param(message(b"\0" + PING + sequence("a", b"") * 2), id="one name twice"),
        pytest.param(message(b"\2" + PING), id="unknown kind"),
        pytest.param(message(b"\0" + PING, flags=4), id="unknown required flag"),
        pytest.param(message(b"\0" + PING, opcode=2012), id="compressed"),
        pytest.param(message(b"\0" + PING[:-1]), id="cut off"),
    ],
)
def test_messages_outside_the_protocol_are_refused(data: bytes) -> None:
    """A server that guessed would run what nobody sent."""
    with pytest.raises(WireError):
        parse(data)


@pytest.mark.parametrize("size", [-1, 0, 16, MAX_MESSAGE + 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    """Before memory is taken for them."""
    with pytest.raises(WireError):
        size_of_next(struct.pack("<i", size))
    assert size_of_next(struct.pack("<i", size)[:3]) is None


def test_a_reply_has_the_form_of_its_request() -> None:
    """OP_QUERY is answered by OP_REPLY with one document, OP_MSG by OP_MSG."""
    query = reply(Request(5, PING, {}, query=True), PING)
    assert struct.unpack_from("<iiiiiqii", query) == (36 + len(PING), 0, 5, 1, 8, 0, 0, 1)
    assert query[36:] == PING
    msg = reply(Request(5, PING, {}), PING)
    assert struct.unpack_from("<iiiiIB", msg) == (21 + len(PING), 0, 5, 2013, 0, 0)
    assert msg[21:] == PING


@given(st.sampled_from(["23505", "40001", "40P01", "M001C", "M00CO", "M0004", "57014"]))
def test_packed_states_are_unpacked(state: str) -> None:
    """A SQLSTATE packed as PostgreSQL packs it gives the code of that SQLSTATE."""
    packed = sum((ord(character) - 48 & 63) << 6 * place for place, character in enumerate(state))
    assert unpacked(packed) == code_of(state)
    assert unpacked(11000) == 11000


def test_a_failure_is_told_with_its_name_and_labels() -> None:
    """A driver reads code, codeName and errorLabels."""
    error = CommandError(112, "a concurrent operation was first", ("TransientTransactionError",))
    assert bson.decode(error.document()) == {
        "ok": 0.0,
        "errmsg": "a concurrent operation was first",
        "code": 112,
        "codeName": "WriteConflict",
        "errorLabels": ["TransientTransactionError"],
    }


# ---------------------------------------------------------------- with the server
@needs_server
async def test_the_first_handshake_may_be_an_old_query() -> None:
    """Drivers ask by OP_QUERY before they know the server."""
    connection = await RawConnection.open()
    body = struct.pack("<i", 0) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1)
    body += bson.encode({"ismaster": 1, "helloOk": True})
    connection.write(struct.pack("<iiii", 16 + len(body), 9, 0, 2004) + body)
    opcode, answered, rest = await connection.receive()
    await connection.close()
    hello = bson.decode(rest[20:])
    assert (opcode, answered, hello["ok"], hello["ismaster"]) == (1, 9, 1.0, True)


@needs_server
async def test_requests_in_one_piece_are_answered_in_their_order(rows: Collection) -> None:
    """Those that ask for no reply get none, and are done before what follows them."""
    connection = await RawConnection.open()
    name = {"$db": rows.database.name}
    for number in range(5):
        connection.send({"insert": "rows", "documents": [{"_id": number}], **name}, flags=2)
    count = await connection.ask({"count": "rows", **name})
    await connection.close()
    assert (count["ok"], count["n"]) == (1, 5)


@needs_server
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(bytes(16), id="zeros"),
        pytest.param(b"\xff" * 64, id="ones"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="another protocol"),
        pytest.param(message(b"\0" + PING, opcode=2010), id="unknown opcode"),
    ],
)
async def test_a_client_that_speaks_something_else_is_cut_off(data: bytes) -> None:
    """And the next one is served."""
    connection = await RawConnection.open()
    connection.write(data)
    assert await connection.ends()
    await connection.close()
    other = await RawConnection.open()
    assert (await other.ask({"ping": 1, "$db": "admin"}))["ok"] == 1
    await other.close()


@needs_server
@pytest.mark.parametrize(
    "command",
    [
        {"killCursors": "rows", "cursors": ["a"]},
        {"killCursors": "rows"},
        {"getMore": "a", "collection": "rows"},
        {"explain": {}},
        {"explain": 1},
        {"endSessions": [1]},
        {"collMod": 1},
        {"create": 1},
        {"drop": 1},
        {"find": "rows", "maxTimeMS": "soon"},
        {"find": "rows", "filter": 1},
        {"insert": "rows", "documents": 1},
        {"insert": "rows", "documents": [1]},
        {"update": "rows", "updates": [{"q": {}}]},
        {"renameCollection": "a.b"},
        {"insert": "rows", "documents": [{}], "autocommit": False, "startTransaction": True},
        {"commitTransaction": 1},
    ],
    ids=str,
)
async def test_a_malformed_command_is_refused(rows: Collection, command: Document) -> None:
    """With a code other than InternalError, and the connection goes on."""
    connection = await RawConnection.open()
    reply = await connection.ask({**command, "$db": rows.database.name})
    pong = await connection.ask({"ping": 1, "$db": "admin"})
    await connection.close()
    assert reply["ok"] == 0
    assert reply["code"] != 1
    assert pong["ok"] == 1


@needs_server
async def test_a_broken_document_is_refused() -> None:
    """The bytes of a command are checked before anything is done with them."""
    connection = await RawConnection.open()
    connection.write(message(b"\0" + PING[:4] + b"\x7f" + PING[5:]))
    _, _, rest = await connection.receive()
    await connection.close()
    assert bson.decode(rest[5:])["code"] == 22
