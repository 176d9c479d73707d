"""The layer: events of requests, faults, commands."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from blockio.layers import Below, Command, Reply, Request
from injectors.layer import RuleLayer, create
from tests.injectors.conftest import on_wire


class Disk:
    """A disk that records the requests that it gets."""

    def __init__(self, size: int = 1 << 16) -> None:
        self.data = bytearray(size)
        self.asked: list[tuple[str, int, int, int]] = []

    def __call__(self, request: Request) -> Reply:
        self.asked.append((request.command.name, request.offset, request.length, request.flags))
        stop = request.offset + request.length
        if request.command is Command.READ:
            return Reply(data=bytes(self.data[request.offset : stop]))
        if request.command is Command.WRITE:
            self.data[request.offset : stop] = request.payload
        return Reply()


def read(offset: int = 0, length: int = 512, connection: int = 1) -> Request:
    return Request(Command.READ, 0, offset, length, 1, connection=connection)


def write(offset: int = 0, length: int = 512, flags: int = 0) -> Request:
    return Request(Command.WRITE, flags, offset, length, 1, b"\xa5" * length, 1)


def errors(layer: RuleLayer, disk: Below, requests: Iterable[Request]) -> list[int]:
    return [layer.handle(request, disk).error for request in requests]


def test_a_layer_without_rules_is_not_active() -> None:
    layer = create(None, seed=0)
    assert not layer.active
    assert not layer.waits


def test_an_error_is_injected_before_the_disk_is_asked() -> None:
    disk = Disk()
    layer = create("rules: [{event: write_aio, errno: ENOSPC, once: true}]", seed=0)
    assert layer.active
    assert errors(layer, disk, [read(), write(), write()]) == [0, errno.ENOSPC, 0]
    assert [name for name, *_ in disk.asked] == ["READ", "WRITE"]
    assert not layer.active, "once is over: requests may pass the layer by"


@pytest.mark.parametrize(
    ("event", "command"),
    [
        ("read_aio", Command.READ), ("write_aio", Command.WRITE), ("pwritev", Command.WRITE),
        ("pwritev_zero", Command.WRITE_ZEROES), ("flush_to_os", Command.FLUSH),
        ("flush_to_disk", Command.FLUSH), ("read_aio", Command.CACHE),
    ],
)  # fmt: skip
def test_a_command_fires_its_events(event: str, command: Command) -> None:
    layer = create(f"rules: [{{event: {event}}}]", seed=0)
    payload = bytes(512) if command is Command.WRITE else b""
    length = 0 if command is Command.FLUSH else 512
    assert errors(layer, Disk(), [Request(command, 0, 0, length, 1, payload)]) == [errno.EIO]
    assert layer.describe()["rules"][0]["events"] == 1


def test_pwritev_done_fires_after_a_write_even_if_it_failed() -> None:
    layer = create("rules: [{event: pwritev_done, iotype: read}, {event: write_aio}]", seed=0)
    assert errors(layer, Disk(), [read(), write(), read()]) == [0, errno.EIO, errno.EIO]


def test_a_rule_of_none_covers_discard_and_block_status_by_iotype() -> None:
    layer = create("rules: [{event: none, iotype: [discard, block-status]}]", seed=0)
    trim, status = (Request(one, 0, 0, 512, 1) for one in (Command.TRIM, Command.BLOCK_STATUS))
    assert errors(layer, Disk(), [trim, status, read()]) == [errno.EIO, errno.EIO, 0]


def test_a_hang_holds_a_request_until_it_is_resumed() -> None:
    layer = create("rules: [{event: write_aio, action: hang, once: true, id: held}]", seed=0)
    assert layer.waits
    disk, held, replies = Disk(), threading.Event(), []

    def wait(gate: threading.Event) -> None:
        held.set()
        gate.wait(20)

    layer.wait = wait
    thread = threading.Thread(target=lambda: replies.append(layer.handle(write(), disk)))
    thread.start()
    assert held.wait(20)
    commands = layer.commands()
    assert commands["query-rules"]({})["rules"][0]["held"] == 1
    assert disk.asked == []
    assert commands["rule-resume"]({"id": "held"}) == {"resumed": 1}
    thread.join(20)
    assert [reply.error for reply in replies] == [0]
    assert [name for name, *_ in disk.asked] == ["WRITE"]
    assert not layer.waits, "once is over: no request waits any more"


def test_removing_a_rule_releases_held_requests() -> None:
    layer = create("rules: [{event: write_aio, action: hang}]", seed=0)
    held = threading.Event()

    def wait(gate: threading.Event) -> None:
        held.set()
        assert gate.wait(20)

    layer.wait = wait
    thread = threading.Thread(target=layer.handle, args=(write(), Disk()))
    thread.start()
    assert held.wait(20)
    layer.commands()["rule-del"]({"all": True})
    thread.join(20)
    assert not thread.is_alive()
    assert not layer.active


def test_commands_add_list_change_and_remove_rules() -> None:
    layer = create(None, seed=0)
    run = layer.commands()
    added = run["rule-add"]({"event": "write_aio", "errno": "ENOSPC", "sector": "0-7"})
    assert added == {"id": "rule1"}
    disk = Disk()
    assert errors(layer, disk, [write(), write(8 * 512)]) == [errno.ENOSPC, 0]
    (seen,) = run["query-rules"]({})["rules"]
    assert seen == {
        "id": "rule1", "events": 2, "matches": 1, "fired": 1, "live": True, "held": 0,
        "rule": {"event": "write_aio", "errno": "ENOSPC", "sector": "0-7"},
    }  # fmt: skip
    run["rule-change"]({"id": "rule1", "errno": 5, "sector": None})
    assert errors(layer, disk, [write(8 * 512)]) == [errno.EIO]
    assert run["rule-del"]({"id": "rule1"})[0]["fired"] == 1
    assert errors(layer, disk, [write()]) == [0]
    assert not layer.active


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("rule-add", {"event": "write_aoi"}, "write_aio"),
        ("rule-add", {"event": "none", "errno": "ENOPE"}, "ENOSPC"),
        ("rule-add", {"errno": 5}, "event"),
        ("rule-add", {"event": "none", "onec": True}, "once"),
        ("rule-add", {"event": "none", "action": "explode"}, "disconnect"),
        ("rule-change", {"id": "rule7", "errno": 5}, "no rule rule7"),
        ("rule-del", {}, "all: true"),
        ("query-rules", {"id": "x"}, "no rule x"),
        ("set-rule-state", {"state": "2"}, "int"),
        ("rule-load", {"text": "rules: [{event: reed}]"}, "rules.yaml:1: .*read_aio"),
    ],
)
def test_a_wrong_command_says_what_is_allowed(
    command: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        create(None, seed=0).commands()[command](arguments)


def test_each_fault_is_reported() -> None:
    layer, events = create("rules: [{event: read_aio, id: r}]", seed=0), []
    layer.on_event = lambda name, data: events.append((name, data["rule"], data["offset"]))
    errors(layer, Disk(), [write(), read(1024)])
    assert events == [("FAULT_INJECTED", "r", 1024)]


def test_a_connection_can_be_chosen() -> None:
    layer = create("rules: [{event: read_aio, connection: 2}]", seed=0)
    assert errors(layer, Disk(), [read(), read(connection=2)]) == [0, errno.EIO]


def test_a_disconnect_cuts_the_reply_as_configured() -> None:
    for when, expected in {
        "before-request": (b"", False), "before-reply": (b"", False),
        "after-reply": (b"0123456789", False), "mid-reply": (b"012", False),
    }.items():  # fmt: skip
        extra = ", sent: 3" if when == "mid-reply" else ""
        text = f"rules: [{{event: write_aio, action: disconnect, when: {when}{extra}}}]"
        disk = Disk()
        reply = create(text, seed=0).handle(write(), disk)
        assert on_wire(reply, b"0123456789") == expected
        assert len(disk.asked) == (when != "before-request")


def test_many_threads_meet_each_fault_once() -> None:
    layer = create("rules: [{event: write_aio, count: 100, id: r}]", seed=0)
    failed: list[int] = []
    disk = Disk()

    def work() -> None:
        failed.append(sum(bool(layer.handle(write(), disk).error) for _ in range(500)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(failed) == 100
    (seen,) = layer.describe()["rules"]
    assert (seen["fired"], seen["live"]) == (100, False)
    assert not layer.active


def test_the_same_requests_meet_the_same_faults_with_the_same_seed() -> None:
    def faults(seed: int) -> tuple[list[int], bytes]:
        text = "rules: [{event: read_aio, probability: 0.3}, {event: write_aio, action: corrupt}]"
        layer, disk = create(text, seed=seed), Disk()
        return errors(layer, disk, [read(), write(), read()] * 30), bytes(disk.data)

    assert faults(5) == faults(5) != faults(6)


def test_a_changed_rule_keeps_its_position_and_restarts_its_counts() -> None:
    layer = create("rules: [{event: read_aio, id: a}, {event: read_aio, errno: 28, id: b}]", seed=0)
    disk = Disk()
    assert errors(layer, disk, [read()]) == [errno.EIO]
    layer.commands()["rule-change"]({"id": "a", "errno": "EROFS", "once": True})
    assert errors(layer, disk, [read(), read()]) == [errno.EROFS, errno.ENOSPC]
    assert [rule["fired"] for rule in layer.describe()["rules"]] == [1, 1]


def test_a_rule_added_later_sees_the_state() -> None:
    layer = create("states: [{event: write_aio, new_state: 2}]", seed=0)
    disk = Disk()
    assert errors(layer, disk, [write()]) == [0]
    layer.commands()["rule-add"]({"event": "read_aio", "state": 2})
    assert errors(layer, disk, [read()]) == [errno.EIO]
    layer.commands()["set-rule-state"]({"state": 1})
    layer.commands()["rule-change"]({"id": "rule1", "errno": 28})
    assert errors(layer, disk, [read()]) == [errno.ENOSPC], "a rule once armed stays armed"
    assert layer.describe()["state"] == 1


def test_removing_all_rules_resets_the_state() -> None:
    layer = create("rules: [{event: read_aio}]\nstates: [{event: none, new_state: 4}]", seed=0)
    assert layer.describe()["state"] == 4
    seen = layer.commands()["rule-del"]({"all": True})
    assert [rule["id"] for rule in seen] == ["rule1"]
    after = layer.describe()
    assert (after["state"], after["rules"], after["states"]) == (1, [], [])
    assert not layer.active


def test_a_rule_that_ended_does_not_fire_again_before_the_layer_notices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, disk = create("rules: [{event: write_aio, once: true}]", seed=0), Disk()
    # Another connection comes between the fault and the layer's own taking note of its end.
    monkeypatch.setattr(layer, "_refresh", lambda: None)
    assert errors(layer, disk, [write(), write(), write()]) == [errno.EIO, 0, 0]
    passes = layer.passes.get(Command.WRITE)
    assert passes is None or not passes(1 << 20, 512)
