"""The state machine of a node: what it votes for, what it refuses, what it keeps."""

from __future__ import annotations

import pytest

from reference_backend.cluster import messages as m
from reference_backend.cluster.node import Node
from reference_backend.cluster.replica import Replica

LATER = m.PROMISE_S + 0.01


class Disk:
    boot = bytes(16)

    def __init__(self) -> None:
        self.data = bytearray(4096)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def sync(self) -> None:
        pass


def node(me: int, disk: Disk | None = None, now: float = 0.0) -> Node:
    found = Node(me, Replica(disk or Disk(), 2, 16, 1), now)
    found.trust_own_store()
    return found


def sent(one: Node, kind: type) -> list[tuple[int, m.Message]]:
    found = [(to, message) for to, message in one.outbox if isinstance(message, kind)]
    one.outbox.clear()
    return found


def leading() -> Node:
    """Return node 1, elected by node 2."""
    one = node(1)
    one.tick(2.0)
    vote = m.Vote(1, m.State(1, False, False, ((0, 0), (0, 0))))
    one.receive(2, vote, 2.0)
    assert one.leader is not None
    one.receive(2, m.HeartbeatAck(1, 1, False, 2.0), 2.0)
    one.outbox.clear()
    return one


def test_a_node_votes_once_in_an_epoch_also_after_a_restart() -> None:
    disk = Disk()
    one = node(1, disk)
    one.receive(2, m.Ask(5), LATER)
    assert [to for to, _ in sent(one, m.Vote)] == [2]
    again = node(1, disk)
    again.receive(3, m.Ask(5), LATER)
    assert not sent(again, m.Vote)
    again.receive(2, m.Ask(5), LATER)
    assert [to for to, _ in sent(again, m.Vote)] == [2]


def test_a_node_keeps_its_promise_to_a_leader_and_waits_after_a_start() -> None:
    one = node(1)
    one.receive(3, m.Ask(1), 0.1)
    assert not sent(one, m.Vote)
    one.receive(2, m.Heartbeat(1, 7.0), 1.0)
    one.receive(3, m.Ask(2), 1.0 + m.LEASE_S)
    assert not sent(one, m.Vote)
    one.receive(3, m.Ask(2), 1.0 + LATER)
    assert sent(one, m.Vote)


def test_a_follower_refuses_an_old_leader_and_an_older_version() -> None:
    one = node(1)
    new, old = m.Record((4, 1), (), b"n" * 16), m.Record((3, 9), (), b"o" * 16)
    one.receive(2, m.Put(4, 0, new), 1.0)
    one.receive(2, m.Put(4, 0, old), 1.0)
    assert one.replica.get(0) == new
    one.outbox.clear()
    one.receive(3, m.Put(3, 0, old), 1.0)
    assert [type(message) for _, message in one.outbox] == [m.Old]


def test_doubtful_votes_count_only_together() -> None:
    one = node(1)
    one.tick(2.0)
    lost = m.State(1, True, False, ((0, 0), (0, 0)))
    one.receive(2, m.Vote(1, lost), 2.0)
    assert one.leader is None
    one.receive(3, m.Vote(1, lost), 2.0)
    assert one.leader is not None


def test_a_write_is_acknowledged_by_a_quorum_and_done_once() -> None:
    one = leading()
    write = m.Request(9, 1, "write", 0, 4, b"data")
    one.receive(9, write, 2.0)
    assert not sent(one, m.Reply)
    read = m.Request(9, 2, "read", 0)
    one.receive(9, read, 2.0)
    assert not sent(one, m.Reply)
    one.receive(2, m.PutAck(1, 1, 0, (1, 1)), 2.1)
    data = b"\0" * 4 + b"data" + b"\0" * 8
    assert [message for _, message in sent(one, m.Reply)] == [
        m.Reply(9, 1, b""), m.Reply(9, 2, data)
    ]  # fmt: skip
    one.receive(8, m.Request(8, 1, "write", 0, 4, b"over"), 2.1)
    one.receive(2, m.PutAck(1, 1, 0, (1, 2)), 2.1)
    one.receive(9, write, 2.2)
    assert one.replica.get(0).data[4:8] == b"over"
    assert sent(one, m.Reply)


def test_a_leader_reads_only_under_its_lease() -> None:
    one = leading()
    one.receive(9, m.Request(9, 1, "read", 0), 2.0 + m.LEASE_S + 0.01)
    assert not sent(one, m.Reply)
    one.receive(2, m.HeartbeatAck(1, 1, False, 2.6), 2.65)
    one.receive(9, m.Request(9, 1, "read", 0), 2.66)
    assert sent(one, m.Reply)


def test_a_flush_waits_for_a_follower_that_has_everything() -> None:
    one = leading()
    one.receive(9, m.Request(9, 1, "write", 0, 0, b"x"), 2.0)
    one.receive(9, m.Request(9, 2, "flush"), 2.0)
    assert not sent(one, m.Sync)
    one.receive(2, m.PutAck(1, 1, 0, (1, 1)), 2.1)
    [(to, sync)] = sent(one, m.Sync)
    assert to == 2 and isinstance(sync, m.Sync)
    one.receive(2, m.SyncAck(1, 7, sync.flush), 2.1)
    assert not sent(one, m.Reply), "the answer of an unknown incarnation counted"
    one.receive(2, m.SyncAck(1, 1, sync.flush), 2.1)
    assert sent(one, m.Reply)


def test_a_leader_that_hears_of_nobody_steps_down() -> None:
    one = leading()
    one.tick(2.0 + m.FETCH_LIMIT_S + 0.01)
    assert one.leader is None


@pytest.mark.parametrize("kept", range(0, 200, 7))
def test_a_torn_write_leaves_the_durable_version(kept: int) -> None:
    disk = Disk()
    replica = Replica(disk, 2, 16, 1)
    durable = m.Record((1, 1), ((9, 1),), b"d" * 16)
    replica.put(0, durable)
    replica.sync()
    before = bytes(disk.data)
    newer = m.Record((1, 2), (), b"n" * 16)
    replica.put(0, newer)
    after = bytes(disk.data)
    first = next(at for at in range(4096) if before[at] != after[at])
    disk.data[:] = after[: first + kept] + before[first + kept :]
    assert Replica(disk, 2, 16, 2).get(0) in (durable, newer)
