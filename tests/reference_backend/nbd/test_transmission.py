"""The transmission phase: a client and a server in memory, in all three modes."""

from __future__ import annotations

import errno
import itertools
import struct

import pytest

from blockio.errors import BlockError
from blockio.extents import Extent
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.errors import RemoteProtocolError, wire_errno
from reference_backend.nbd.settings import Bytes, Features, Limits
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

from .pair import SIZE, Pair, volume

C, F = Command, CommandFlag
MODES = list(ReplyMode)
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name.lower())
FLAGS = [0, *F, 1 << 6, 1 << 15]
COMMANDS = [c for c in C if c is not C.DISC]
SIZED = [c for c in COMMANDS if c is not C.FLUSH]
ALLOWED = {
    C.READ: {F.FUA, F.DF},
    C.WRITE: {F.FUA, F.PAYLOAD_LEN},
    C.FLUSH: {F.FUA},
    C.TRIM: {F.FUA},
    C.CACHE: {F.FUA},
    C.WRITE_ZEROES: {F.FUA, F.NO_HOLE, F.FAST_ZERO},
    C.BLOCK_STATUS: {F.FUA, F.REQ_ONE, F.PAYLOAD_LEN},
}


def payload_of(command: int, length: int) -> bytes:
    return b"p" * length if command == C.WRITE else b""


def test_simple_read_and_write_are_byte_exact() -> None:
    pair = Pair(ReplyMode.SIMPLE)
    write = bytes.fromhex("25609513 0001 0001 0102030405060708 0000000000000200 00000004") + b"data"
    assert pair.feed(write) == bytes.fromhex("67446698 00000000 0102030405060708")
    read = bytes.fromhex("25609513 0000 0000 0000000000000007 00000000000001ff 00000006")
    assert pair.feed(read) == bytes.fromhex("67446698 00000000 0000000000000007") + b"\0data\0"


def test_structured_read_is_byte_exact() -> None:
    pair = Pair(ReplyMode.STRUCTURED)
    pair.device.write(0x200, b"data")
    read = bytes.fromhex("25609513 0000 0000 0000000000000007 0000000000000200 00000004")
    assert pair.feed(read) == (
        bytes.fromhex("668e33ef 0001 0001 0000000000000007 0000000c 0000000000000200") + b"data"
    )


def test_extended_read_write_and_status_are_byte_exact() -> None:
    pair = Pair(ReplyMode.EXTENDED, contexts=["base:allocation"])
    head = "21e41c71 0020 0001 0000000000000007 0000000000001000 0000000000001000"
    assert pair.feed(bytes.fromhex(head) + b"d" * 4096) == bytes.fromhex(
        "6e8a278c 0001 0000 0000000000000007 0000000000001000 0000000000000000"
    )
    head = "21e41c71 0000 0000 0000000000000008 0000000000001000 0000000000000002"
    assert (
        pair.feed(bytes.fromhex(head))
        == bytes.fromhex(
            "6e8a278c 0001 0001 0000000000000008 0000000000001000 000000000000000a0000000000001000"
        )
        + b"dd"
    )
    head = "21e41c71 0000 0007 0000000000000009 0000000000000000 0000000000002000"
    assert pair.feed(bytes.fromhex(head)) == bytes.fromhex(
        "6e8a278c 0001 0006 0000000000000009 0000000000000000 0000000000000028"
        "00000001 00000002 0000000000001000 0000000000000003 0000000000001000 0000000000000000"
    )


@every_mode
@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: f"flag{flag:#x}")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name.lower())
def test_each_command_takes_its_own_flags_and_refuses_others(
    mode: ReplyMode, command: Command, flag: int
) -> None:
    """What is not documented for a command is EINVAL ("Command flags"); the connection lives."""
    length = 0 if command is C.FLUSH else 4096
    data = payload_of(command, length)
    if flag == F.PAYLOAD_LEN and mode is ReplyMode.EXTENDED and command is not C.WRITE:
        data = struct.pack(">QII", 4096, 1, 2) if command is C.BLOCK_STATUS else b"x" * length
        length = len(data)
    legal = flag == 0 or flag in ALLOWED[command]
    if flag == F.DF or command is C.BLOCK_STATUS:
        legal = legal and mode is not ReplyMode.SIMPLE
    if flag == F.PAYLOAD_LEN:
        legal = legal and mode is ReplyMode.EXTENDED
    pair = Pair(mode)
    pair.device.write(0, b"old" * 4096)
    reply = pair.call(command, 0, length, flag, data)
    assert reply.error == (0 if legal else errno.EINVAL)
    if not legal:
        assert pair.device.read(0, 12288) == b"old" * 4096
    assert pair.call(C.READ, 0, 1).error == 0


@every_mode
@pytest.mark.parametrize("command", [8, 9, 255, 65535])
def test_unknown_commands_are_einval_and_the_connection_continues(
    mode: ReplyMode, command: int
) -> None:
    pair = Pair(mode)
    assert pair.call(command, 0, 4096).error == errno.EINVAL
    assert pair.call(C.READ, 0, 4096).data == bytes(4096)


OFF = {
    "flush": C.FLUSH,
    "trim": C.TRIM,
    "cache": C.CACHE,
    "write_zeroes": C.WRITE_ZEROES,
    "block_status": C.BLOCK_STATUS,
}


@pytest.mark.parametrize("feature", OFF)
def test_commands_that_were_not_offered_are_einval(feature: str) -> None:
    pair = Pair(ReplyMode.STRUCTURED, features=Features(**{feature: False}))
    length = 0 if feature == "flush" else 512
    assert pair.call(OFF[feature], 0, length).error == errno.EINVAL


@pytest.mark.parametrize(("feature", "flag"), [("fua", F.FUA), ("fast_zero", F.FAST_ZERO)])
def test_flags_that_were_not_offered_are_einval(feature: str, flag: int) -> None:
    pair = Pair(ReplyMode.STRUCTURED, features=Features(**{feature: False}))
    assert pair.call(C.WRITE_ZEROES, 0, 512, flag).error == errno.EINVAL
    assert pair.call(C.WRITE_ZEROES, 0, 512).error == 0


def test_block_status_without_contexts_is_einval() -> None:
    pair = Pair(ReplyMode.STRUCTURED, contexts=())
    assert pair.call(C.BLOCK_STATUS, 0, 512).error == errno.EINVAL


# -- ranges


@every_mode
@pytest.mark.parametrize("command", SIZED, ids=lambda command: command.name.lower())
@pytest.mark.parametrize(
    ("offset", "length"),
    [(SIZE, 1), (SIZE - 1, 2), (1 << 63, 512), ((1 << 64) - 1, 1), ((1 << 64) - 512, 512)],
)
def test_beyond_the_end_is_enospc_for_data_and_einval_else(
    mode: ReplyMode, command: Command, offset: int, length: int
) -> None:
    """ "Error values"; sums must not wrap around at 64 bits."""
    pair = Pair(mode)
    expected = errno.ENOSPC if command in (C.WRITE, C.WRITE_ZEROES) else errno.EINVAL
    reply = pair.call(command, offset, length, payload=payload_of(command, length))
    assert reply.error == expected
    assert pair.call(C.READ, 0, SIZE).data == bytes(SIZE)


@every_mode
@pytest.mark.parametrize("command", SIZED, ids=lambda command: command.name.lower())
def test_the_last_byte_and_zero_lengths_are_inside(mode: ReplyMode, command: Command) -> None:
    pair = Pair(mode)
    if command is C.BLOCK_STATUS and mode is ReplyMode.SIMPLE:
        return
    assert pair.call(command, SIZE - 1, 1, payload=payload_of(command, 1)).error == 0
    expected = errno.EINVAL if command is C.BLOCK_STATUS else 0
    for offset in (0, SIZE):
        assert pair.call(command, offset, 0).error == expected


@every_mode
@pytest.mark.parametrize("command", SIZED, ids=lambda command: command.name.lower())
@pytest.mark.parametrize(("offset", "length"), [(256, 512), (512, 256), (1, 1), (0, 513)])
def test_unaligned_to_the_minimum_is_einval(
    mode: ReplyMode, command: Command, offset: int, length: int
) -> None:
    pair = Pair(mode, volume(block_sizes=(512, 4096, 1 << 20)))
    reply = pair.call(command, offset, length, payload=payload_of(command, length))
    assert reply.error == errno.EINVAL
    assert pair.call(C.READ, 0, 512).data == bytes(512)


@every_mode
def test_reads_and_writes_over_the_maximum_are_einval_and_zeroes_are_not(mode: ReplyMode) -> None:
    pair = Pair(mode, volume(block_sizes=(1, 4096, 65536)))
    assert pair.call(C.READ, 0, 65537).error == errno.EINVAL
    assert pair.call(C.WRITE, 0, 65537, payload=bytes(65537)).error == errno.EINVAL
    assert pair.call(C.WRITE_ZEROES, 0, SIZE).error == 0
    assert pair.call(C.TRIM, 0, SIZE).error == 0
    assert pair.call(C.READ, 0, 65536).data == bytes(65536)


@every_mode
@pytest.mark.parametrize("command", [C.WRITE, C.WRITE_ZEROES, C.TRIM])
def test_writing_to_a_read_only_export_is_eperm(mode: ReplyMode, command: Command) -> None:
    pair = Pair(mode, read_only=True)
    for flag in (0, F.FUA):
        reply = pair.call(command, 0, 512, flag, payload_of(command, 512))
        assert reply.error == errno.EPERM
    assert pair.call(C.READ, 0, 512).data == bytes(512)
    assert pair.call(C.FLUSH).error == 0


@every_mode
def test_flush_of_a_range_is_einval(mode: ReplyMode) -> None:
    assert Pair(mode).call(C.FLUSH, 0, 512).error == errno.EINVAL
    assert Pair(mode).call(C.FLUSH, 512, 0).error == errno.EINVAL


@every_mode
def test_a_resize_counts_from_the_next_request(mode: ReplyMode) -> None:
    pair = Pair(mode)
    assert pair.call(C.WRITE, SIZE, 512, payload=bytes(512)).error == errno.ENOSPC
    pair.device.resize(2 * SIZE)
    assert pair.call(C.WRITE, SIZE, 512, payload=b"n" * 512).error == 0
    pair.device.resize(SIZE)
    assert pair.call(C.READ, SIZE, 512).error == errno.EINVAL


# -- payloads of refused requests


@every_mode
@pytest.mark.parametrize("step", [0, 1, 7, 4096])
def test_the_payload_of_a_refused_write_is_drained(mode: ReplyMode, step: int) -> None:
    pair = Pair(mode, read_only=True, step=step)
    script = pair.header(C.WRITE, 0, 5000) + b"x" * 5000 + pair.header(C.READ, 0, 16)
    found = list(pair.client.receive(pair.feed(script)))
    assert [reply.error for reply in found] == [errno.EPERM, 0]
    assert found[1].data == bytes(16)


@every_mode
def test_a_payload_too_long_to_drain_ends_the_connection(mode: ReplyMode) -> None:
    pair = Pair(mode, limits=Limits(payload=1 << 20, drain=1 << 21))
    # The longest payload that is drained:
    reply = list(pair.client.receive(pair.feed(pair.header(C.WRITE, 0, 1 << 21))))
    assert [each.error for each in reply] == [errno.EINVAL]
    assert pair.server.drain == 1 << 21
    pair = Pair(mode, limits=Limits(payload=1 << 20, drain=1 << 21))
    with pytest.raises(RemoteProtocolError, match="payload"):
        pair.feed(pair.header(C.WRITE, 0, (1 << 21) + 1))


def test_an_unexpected_extended_payload_is_drained_and_einval() -> None:
    pair = Pair(ReplyMode.EXTENDED)
    for command in (C.READ, C.FLUSH, C.TRIM, C.CACHE, C.WRITE_ZEROES, 99):
        reply = pair.call(command, 0, 333, F.PAYLOAD_LEN, b"z" * 333)
        assert reply.error == errno.EINVAL
    assert pair.call(C.READ, 0, 1).error == 0


def test_a_write_without_payload_len_is_taken_with_its_payload() -> None:
    """QEMU's server traces it and continues (nbd/server.c, nbd_co_receive_request)."""
    pair = Pair(ReplyMode.EXTENDED)
    raw = m.EXTENDED_REQUEST.pack(0x21E41C71, 0, C.WRITE, 5, 0, 3) + b"abc"
    assert len(pair.feed(raw)) == 32
    assert pair.device.read(0, 4) == b"abc\0"


# -- reads


@every_mode
def test_reads_return_what_was_written_at_any_length(mode: ReplyMode) -> None:
    pair = Pair(mode)
    content = bytes(itertools.islice(itertools.cycle(range(1, 252)), SIZE))
    pair.device.write(0, content)
    for offset, length in ((0, 1), (1, 4095), (65535, 65537), (0, SIZE), (3, SIZE - 3)):
        assert pair.call(C.READ, offset, length).data == content[offset : offset + length]


@pytest.mark.parametrize("mode", [ReplyMode.STRUCTURED, ReplyMode.EXTENDED])
def test_zeroes_are_sent_as_holes_unless_df_forbids_it(mode: ReplyMode) -> None:
    pair = Pair(mode)
    pair.device.write(65536, b"d")
    reply = pair.call(C.READ, 0, 4 * 65536 + 5)
    assert reply.chunks == [
        (0, 65536, True),
        (65536, 65536, False),
        (131072, 131072, True),
        (262144, 5, False),
    ]
    assert reply.data == bytes(65536) + b"d" + bytes(3 * 65536 + 4)
    whole = pair.call(C.READ, 0, 4 * 65536, F.DF)
    assert whole.chunks == [(0, 4 * 65536, False)]
    assert len(pair.feed(pair.header(C.READ, 131072, 131072))) < 100


@pytest.mark.parametrize("mode", [ReplyMode.STRUCTURED, ReplyMode.EXTENDED])
def test_a_read_of_nothing_is_a_none_chunk(mode: ReplyMode) -> None:
    reply = Pair(mode).call(C.READ, 10, 0)
    assert not reply.data
    assert not reply.chunks
    assert reply.error == 0


def test_many_large_reads_are_answered_in_parts_and_all_of_them() -> None:
    pair = Pair(ReplyMode.SIMPLE)
    script = b"".join(pair.header(C.READ, 0, 65536) for _ in range(40))
    assert len(list(pair.client.receive(pair.feed(script)))) == 40


# -- block status


@pytest.mark.parametrize("mode", [ReplyMode.STRUCTURED, ReplyMode.EXTENDED])
def test_block_status_has_each_context_once(mode: ReplyMode) -> None:
    pair = Pair(mode)
    pair.device.write(4096, b"x" * 4096)
    reply = pair.call(C.BLOCK_STATUS, 0, 16384)
    assert reply.extents == {
        1: [Extent(4096, 3), Extent(4096, 0), Extent(8192, 3)],
        2: [Extent(4096, 0), Extent(4096, 1), Extent(8192, 0)],
    }
    one = pair.call(C.BLOCK_STATUS, 0, 1024, F.REQ_ONE)
    assert one.extents == {1: [Extent(1024, 3)], 2: [Extent(1024, 0)]}


def test_long_extents_are_cut_to_32_bits_and_whole_in_64() -> None:
    huge = 1 << 45
    cut = Pair(ReplyMode.STRUCTURED, volume(huge), contexts=["base:allocation"])
    [extent] = cut.call(C.BLOCK_STATUS, 0, 0xFFFFFFFF).extents[1]
    assert 0 < extent.length <= 0xFFFFFFFF
    whole = Pair(ReplyMode.EXTENDED, volume(huge), contexts=["base:allocation"])
    assert whole.call(C.BLOCK_STATUS, 0, huge).extents == {1: [Extent(huge, 3)]}
    assert whole.call(C.WRITE_ZEROES, 0, huge).error == 0
    assert whole.call(C.TRIM, 4096, huge - 4096).error == 0


@pytest.mark.parametrize("ids", [[1], [2], [1, 2], [2, 1]])
def test_a_status_payload_chooses_contexts(ids: list[int]) -> None:
    pair = Pair(ReplyMode.EXTENDED)
    payload = struct.pack(f">Q{len(ids)}I", 4096, *ids)
    reply = pair.call(C.BLOCK_STATUS, 0, len(payload), F.PAYLOAD_LEN, payload)
    assert set(reply.extents) == set(ids)


@pytest.mark.parametrize(
    "payload",
    [
        b"x",
        struct.pack(">Q", 512),
        struct.pack(">QI", 512, 3),
        struct.pack(">QII", 512, 1, 9),
        struct.pack(">QI", 0, 1),
        struct.pack(">QI", SIZE + 1, 1),
        struct.pack(">QI", (1 << 64) - 1, 1),
        struct.pack(">QIB", 512, 1, 0),
        struct.pack(">Q65I", 512, *[1] * 65),
    ],
)
def test_a_wrong_status_payload_is_einval_and_the_connection_continues(payload: bytes) -> None:
    pair = Pair(ReplyMode.EXTENDED)
    reply = pair.call(C.BLOCK_STATUS, 0, len(payload), F.PAYLOAD_LEN, payload)
    assert reply.error == errno.EINVAL
    assert pair.call(C.READ, 0, 1).error == 0


# -- FUA, flush, errors


@every_mode
@pytest.mark.parametrize("command", [C.WRITE, C.WRITE_ZEROES, C.TRIM])
def test_fua_reaches_the_device(mode: ReplyMode, command: Command) -> None:
    device = volume(undo_limit=1 << 20)
    device.write(0, b"o" * 4096, fua=True)
    pair = Pair(mode, device)
    pair.call(command, 0, 4096, F.FUA, payload_of(command, 4096))
    assert not device.pending()
    pair.call(command, 0, 4096, 0, payload_of(command, 4096))
    assert device.pending()
    pair.call(C.FLUSH)
    assert not device.pending()


@pytest.mark.parametrize(
    ("number", "travels_as"),
    [
        (errno.EPERM, errno.EPERM),
        (errno.EROFS, errno.EPERM),
        (errno.EIO, errno.EIO),
        (errno.ENOMEM, errno.ENOMEM),
        (errno.ENOSPC, errno.ENOSPC),
        (errno.EDQUOT, errno.ENOSPC),
        (errno.EFBIG, errno.ENOSPC),
        (errno.EOVERFLOW, errno.EOVERFLOW),
        (errno.EOPNOTSUPP, errno.ENOTSUP),
        (errno.ESHUTDOWN, errno.ESHUTDOWN),
        (errno.ETIMEDOUT, errno.EINVAL),
        (errno.ENOMEDIUM, errno.EINVAL),
    ],
)
@every_mode
def test_errors_are_sent_with_the_values_of_the_document(
    mode: ReplyMode, number: int, travels_as: int
) -> None:
    class Failing:
        waits = False

        def handle(self, request: Request, below: Below) -> Reply:
            if request.flags:
                return Reply(error=number)
            raise BlockError(number, "bad block")

    pair = Pair(mode, layers=[Failing()])
    for flags in (0, F.FUA):
        reply = pair.call(C.READ, 0, 512, flags)
        assert reply.error == travels_as == wire_errno(number)
    assert pair.executor.counts["errors"] == 2


def test_a_structured_error_carries_its_message_and_simple_ones_no_data() -> None:
    reply = Pair(ReplyMode.STRUCTURED).call(C.READ, SIZE, 1)
    assert "beyond the end" in reply.message
    assert len(Pair(ReplyMode.SIMPLE).feed(m.REQUEST.pack(0x25609513, 0, 0, 1, SIZE, 512))) == 16


class FailingVolume(Volume):
    """A volume whose medium fails."""

    def read(self, offset: int, length: int) -> bytes:
        raise BlockError(errno.EIO, f"read at {offset}, {length} bytes")

    def write(self, offset: int, data: Bytes, fua: bool = False) -> None:
        raise BlockError(errno.ENOSPC, f"write at {offset}, {len(data)} bytes, {fua}")


@every_mode
def test_errors_of_the_device_are_replies_and_the_connection_continues(mode: ReplyMode) -> None:
    pair = Pair(mode, FailingVolume(MemoryStore(SIZE)))
    assert pair.call(C.READ, 0, 512).error == errno.EIO
    assert pair.call(C.WRITE, 0, 4, payload=b"data").error == errno.ENOSPC
    assert not pair.call(C.FLUSH).error
    assert pair.executor.counts["errors"] == 2
