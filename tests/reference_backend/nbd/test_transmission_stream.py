"""The transmission phase as a stream: any split, layers, counts, garbage."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockio.layers import Below, Checked, Command, CommandFlag, Reply, Request
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.errors import NbdProtocolError, RemoteProtocolError

from .pair import SIZE, Pair

C, F = Command, CommandFlag
MODES = list(ReplyMode)
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name.lower())


def payload_of(command: int, length: int) -> bytes:
    return b"p" * length if command == C.WRITE else b""


# -- framing


@every_mode
@pytest.mark.parametrize("step", [1, 3, 28, 1000])
def test_steps_of_any_size_give_the_same_bytes(mode: ReplyMode, step: int) -> None:
    def script(pair: Pair) -> bytes:
        parts = [
            pair.header(C.WRITE, 100, 3000) + b"w" * 3000,
            pair.header(C.READ, 0, 4096),
            pair.header(C.WRITE, SIZE, 10) + b"n" * 10,
            pair.header(C.FLUSH, 0, 0),
            pair.header(C.WRITE_ZEROES, 200, 50, F.NO_HOLE),
            pair.header(77, 0, 0),
            pair.header(C.READ, 0, 4096),
        ]
        return b"".join(parts)

    whole, stepped = Pair(mode), Pair(mode, step=step)
    assert whole.feed(script(whole)) == stepped.feed(script(stepped))


@every_mode
def test_no_request_after_disc_is_executed(mode: ReplyMode) -> None:
    pair = Pair(mode)
    script = pair.header(C.WRITE, 0, 1) + b"1" + pair.header(C.DISC, 0, 0)
    script += pair.header(C.WRITE, 1, 1) + b"2"
    assert len(list(pair.client.receive(pair.feed(script)))) == 1
    assert pair.server.closed
    assert pair.device.read(0, 2) == b"1\0"


@every_mode
def test_the_magic_of_another_mode_ends_the_connection(mode: ReplyMode) -> None:
    other = ReplyMode.SIMPLE if mode is ReplyMode.EXTENDED else ReplyMode.EXTENDED
    wrong = Pair(other).header(C.READ, 0, 1)
    with pytest.raises(RemoteProtocolError, match="magic"):
        Pair(mode).feed(wrong + bytes(8))


# -- layers


class Garbling:
    """Cuts each reply to READ in half, and hangs up."""

    def handle(self, request: Request, below: Below) -> Reply:
        reply = below(request)
        if request.command is Command.READ:
            reply.on_wire = lambda raw: (raw[: len(raw) // 2], False)
        return reply


@every_mode
def test_a_layer_may_change_the_encoded_reply_and_end_the_connection(mode: ReplyMode) -> None:
    pair = Pair(mode, layers=[Garbling()])
    plain = Pair(mode, pair.device)
    for each in (pair, plain):
        assert each.call(C.WRITE, 0, 3, payload=b"abc").error == 0
    whole = plain.feed(plain.header(C.READ, 0, 64))
    assert pair.feed(pair.header(C.READ, 0, 64)) == whole[: len(whole) // 2]
    assert pair.server.closed


@every_mode
def test_layers_see_each_request_and_an_inactive_one_sees_none(mode: ReplyMode) -> None:
    class Watching:
        waits = False
        active = True

        def __init__(self) -> None:
            self.seen: list[tuple[int, int, int, bytes]] = []

        def handle(self, request: Request, below: Below) -> Reply:
            seen = request.command, request.offset, request.length, bytes(request.payload)
            self.seen.append(seen)
            return below(request)

    layer = Watching()
    pair = Pair(mode, layers=[Checked(), layer, Checked()])
    pair.call(C.WRITE, 5, 3, payload=b"abc")
    pair.call(C.READ, 4, 5)
    assert layer.seen == [(C.WRITE, 5, 3, b"abc"), (C.READ, 4, 5, b"")]
    layer.active = False
    checked_alone = [each for each in pair.executor.layers if each is not layer]
    for each in checked_alone:
        each.active = False  # type: ignore[attr-defined]
    if mode is not ReplyMode.EXTENDED:
        pair.call(C.READ, 0, 1)
        assert len(layer.seen) == 2


def test_the_same_bytes_are_sent_with_and_without_layers() -> None:
    for mode in MODES:
        plain, layered = Pair(mode), Pair(mode, layers=[Checked()])
        for command in (each for each in C if each is not C.DISC):
            for offset, length in ((0, 0), (0, 100), (SIZE, 1)):
                data = payload_of(command, length)
                sent = [p.feed(p.header(command, offset, length) + data) for p in (plain, layered)]
                assert sent[0] == sent[1], (mode, command, offset, length)


def test_counts_are_of_requests_bytes_and_errors() -> None:
    pair = Pair(ReplyMode.STRUCTURED)
    pair.call(C.WRITE, 0, 512, payload=bytes(512))
    pair.call(C.READ, 0, 4096)
    pair.call(C.READ, 0, 4096, F.DF)
    pair.call(C.READ, SIZE, 1)
    pair.call(C.FLUSH)
    expected = {"write": 1, "write_bytes": 512, "read": 2, "read_bytes": 8192, "errors": 1}
    assert expected.items() <= pair.executor.counts.items()
    assert pair.executor.counts["flush"] == 1


# -- anything at all


requests = st.tuples(
    st.sampled_from([*C, 9, 1000]),
    st.one_of(st.integers(0, 2 * SIZE), st.integers(0, (1 << 64) - 1)),
    st.integers(0, 70_000),
    st.integers(0, 0xFFFF),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(MODES), st.lists(requests, max_size=8), st.integers(0, 50))
def test_any_request_gets_one_reply_and_data_never_leaks(
    mode: ReplyMode, script: list[tuple[int, int, int, int]], step: int
) -> None:
    pair = Pair(mode, step=step * 100)
    for command, offset, length, flags in script:
        if command == C.DISC:
            continue
        extended_payload = mode is ReplyMode.EXTENDED and flags & F.PAYLOAD_LEN
        data = b"r" * length if command == C.WRITE or extended_payload else b""
        reply = pair.call(command, offset, length, flags, data)
        if not reply.error and command == C.READ:
            assert len(reply.data) == length
            assert reply.data == pair.device.read(offset, length)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MODES), st.binary(max_size=300), st.integers(0, 7))
def test_garbage_raises_protocol_errors_only(mode: ReplyMode, garbage: bytes, step: int) -> None:
    pair = Pair(mode, step=step)
    magic = m.U32.pack(0x21E41C71 if mode is ReplyMode.EXTENDED else 0x25609513)
    with contextlib.suppress(NbdProtocolError):
        pair.feed(magic + garbage)
    assert len(pair.device.read(0, SIZE)) == SIZE
