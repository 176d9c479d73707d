"""Requests that may bypass a layer have the same effect as requests that it handles."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blockio.layers import Below, Command, Reply, Request
from injectors.layer import RuleLayer, create
from reference_backend.nbd.agreement import ReplyMode

from .pair import SIZE, Pair

RULES = [
    "{event: write_aio, errno: ENOSPC, iotype: write, sector: 4-7}",
    "{event: read_aio, errno: EPERM, sector: 9, once: true}",
    "{event: pwritev, errno: ENOMEM, sector: 2, after: 1}",
    "{event: pwritev_done, errno: EINVAL, iotype: read, sector: 1}",
    "{event: flush_to_disk, errno: EIO, state: 2}",
    "{event: none, action: stale, iotype: read, sector: 0-7}",
    "{event: write_aio, action: corrupt, iotype: write, sector: 12-13, probability: 0.5}",
    "{event: none, action: disconnect, iotype: discard, count: 1, after: 2}",
]
STATES = ["", "{event: write_aio, new_state: 2}", "{event: flush_to_os, state: 2, new_state: 1}"]
REQUESTS = st.tuples(
    st.sampled_from([Command.READ, Command.WRITE, Command.WRITE, Command.FLUSH, Command.TRIM]),
    st.integers(0, 15).map(lambda sector: sector * 512),
    st.sampled_from([512, 1024, 4096, 100]),
)


class Seeing:
    """A layer of rules that sees every request."""

    waits = True

    def __init__(self, layer: RuleLayer) -> None:
        self._layer = layer

    def handle(self, request: Request, below: Below) -> Reply:
        return self._layer.handle(request, below)


@settings(deadline=None)
@given(
    st.sampled_from([ReplyMode.SIMPLE, ReplyMode.STRUCTURED]),
    st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique=True),
    st.sampled_from(STATES),
    st.lists(REQUESTS, min_size=1, max_size=12),
    st.lists(st.integers(1, 1500), min_size=1, max_size=8),
)
@example(
    ReplyMode.SIMPLE,
    ["{event: none, action: stale, iotype: read}"],
    "",
    [(Command.WRITE, 0, 512), (Command.READ, 0, 512)],
    [600],
)
def test_requests_that_bypass_a_layer_have_the_same_effect(
    mode: ReplyMode,
    rules: list[str],
    states: str,
    requests: list[tuple[Command, int, int]],
    pieces: list[int],
) -> None:
    text = f"rules: [{', '.join(rules)}]\nstates: [{states}]"
    passing, seeing = create(text, seed=5), create(text, seed=5)
    pairs = Pair(mode, layers=[passing]), Pair(mode, layers=[Seeing(seeing)])
    sent = bytearray()
    for number, (command, place, size) in enumerate(requests):
        offset, length = (0, 0) if command is Command.FLUSH else (place, size)
        payload = bytes([number + 1]) * length if command is Command.WRITE else b""
        sent += pairs[0].header(command, offset, length) + payload
    at, turn = 0, 0
    while at < len(sent) and not pairs[0].server.closed:
        piece = bytes(sent[at : at + pieces[turn % len(pieces)]])
        answers = [pair.feed(piece) for pair in pairs]
        assert answers[0] == answers[1]
        at, turn = at + len(piece), turn + 1
    assert passing.describe() == seeing.describe()
    assert pairs[0].device.read(0, SIZE) == pairs[1].device.read(0, SIZE)


def test_a_layer_does_not_handle_requests_that_bypass_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, seen = create("rules: [{event: write_aio, sector: 8}]", seed=0), []
    handle = layer.handle

    def counted(request: Request, below: Below) -> Reply:
        seen.append((request.command, request.offset))
        return handle(request, below)

    monkeypatch.setattr(layer, "handle", counted)
    pair = Pair(ReplyMode.SIMPLE, layers=[layer])
    for offset in (0, 512, 4096, 8192):
        pair.call(Command.WRITE, offset, 512, payload=bytes(512))
    pair.call(Command.READ, 0, 512)
    assert seen == [(Command.WRITE, 4096)]
    assert [rule["events"] for rule in layer.describe()["rules"]] == [4]


def test_replies_are_sent_one_by_one_from_when_a_rule_may_wait() -> None:
    layer = create("rules: [{event: none, iotype: discard, id: a}]", seed=0)
    pair = Pair(ReplyMode.SIMPLE, layers=[layer])
    two = b"".join(pair.header(Command.READ, 0, 512) for _ in range(2))
    pair.buffer[: len(two)] = two
    assert pair.server.run(0, len(two)) == len(two), "no request waits: both are handled at once"
    pair.server.out.clear()
    layer.commands()["rule-add"]({"event": "write_aio", "action": "hang"})
    assert pair.server.run(0, len(two)) == len(two) // 2
    assert pair.server.more
    pair.server.out.clear()
    layer.commands()["rule-del"]({"all": True})
    assert pair.server.run(0, len(two)) == len(two)
