"""The reference cluster with one bug each, and controls that are right but unusual."""

from __future__ import annotations

from typing import Any

from reference_backend.cluster import messages as m
from reference_backend.cluster.leader import Leader, Peer, _Flush, _Write
from reference_backend.cluster.node import Node
from reference_backend.cluster.replica import Replica

# Bugs of the leader -----------------------------------------------------------------------------


class AckBeforeQuorum(Leader):
    """A write is acknowledged when the leader has it, before a follower has it."""

    def _replicate(self, granule: int, record: m.Record, write: _Write) -> None:
        super()._replicate(granule, record, write)
        self._committed(granule, write)


class ReadOfUncommitted(Leader):
    """A read returns a write that is not on a quorum yet."""

    def _may_overtake(self, request: m.Request) -> bool:
        return request.kind == m.Kind.READ


class ResyncSkipsGranule(Leader):
    """The resync of a follower that comes back leaves out the first granule that differs."""

    def _behind(self, state: m.State) -> set[int]:
        return set(sorted(super()._behind(state))[1:])


class DropsInFlight(Leader):
    """A new leader ignores writes that only the other voter has."""

    def _newer_elsewhere(self, votes: dict[int, m.State]) -> dict[int, int]:
        return {}


class FlushLeaderOnly(Leader):
    """A flush makes only the leader's store durable."""

    def _flush(self, client: int, request: m.Request) -> None:
        self._replica.sync()
        self._reply(client, request)


class FlushCountsBehind(Leader):
    """A flush counts a follower that does not have all of the writes."""

    def _ask_for_sync(self, number: int, flush: _Flush) -> None:
        for peer_id in flush.lacks:
            self.node.send(peer_id, m.Sync(self.epoch, number))


class LongLease(Leader):
    """The leader believes in its lease for longer than the followers promise it."""

    def has_lease(self) -> bool:
        """Return True for too long."""
        answered = [peer.beat_sent for peer in self.peers.values()]
        return self.node.now < max(answered, default=float("-inf")) + 5 * m.LEASE_S


class WallClockLease(Leader):
    """The lease is measured by the wall clock, which people and NTP set."""

    def _lease_clock(self) -> float:
        return self.node.wall()

    def _is_given_up(self) -> bool:
        return False


class ReplaysRetry(Leader):
    """A write that a client repeats is done again, over what was written since."""

    def _is_done(self, record: m.Record, request: m.Request) -> bool:
        return False


class KeepsStray(Leader):
    """A write that never was on a quorum stays in the store of a node that comes back."""

    def _replace_stray(self, granule: int, version: m.Version) -> None:
        pass


class CountsOldIncarnation(Leader):
    """Answers of a follower count on, although it has restarted and lost data."""

    def answer(self, sender: int, message: m.Message) -> None:
        """Take each answer for one of the incarnation that is known."""
        peer = self.peers.get(sender)
        if peer is not None and isinstance(message, m.HeartbeatAck | m.PutAck | m.SyncAck):
            message = message._replace(incarnation=peer.incarnation)
        super().answer(sender, message)


# Bugs of a node -----------------------------------------------------------------------------------


class _With(Node):
    """A node with a wrong leader."""


def with_leader(leader: type[Leader]) -> type[Node]:
    """Return a node that leads like this."""
    return type(leader.__name__, (_With,), {"leader_class": leader, "__doc__": leader.__doc__})


class StaleFollowerRead(Node):
    """A follower answers reads from its own store."""

    def _on_request(self, sender: int, request: m.Request) -> None:
        if request.kind == m.Kind.READ:
            data = self.replica.get(request.granule).data
            self.send(sender, m.Reply(request.client, request.number, data))
        else:
            super()._on_request(sender, request)


class TwoLeaders(Node):
    """A node votes although it has promised another leader its lease."""

    def _has_promised(self) -> bool:
        return False


class ForgetsEpoch(Node):
    """The epoch and the vote are lost at a restart."""

    def __init__(self, me: int, replica: Replica, now: float) -> None:
        replica.save(replica.meta._replace(epoch=0, vote=0))
        super().__init__(me, replica, now)


class LostVote(Node):
    """A vote is not durable: after a restart the node votes again in the same epoch."""

    def __init__(self, me: int, replica: Replica, now: float) -> None:
        meta = replica.meta
        if meta.vote != me:
            replica.save(meta._replace(epoch=max(0, meta.epoch - 1), vote=0))
        super().__init__(me, replica, now)


class VotesWithoutWaiting(Node):
    """A node that restarted votes at once, although it may have promised a lease before."""

    def __init__(self, me: int, replica: Replica, now: float) -> None:
        super().__init__(me, replica, now)
        self._promised_until = now


class OverwritesNewer(Node):
    """A late message of a resync overwrites newer data."""

    def _is_newer(self, put: m.Put) -> bool:
        return put.record.version != self.replica.version(put.granule)


class IgnoresEpoch(Node):
    """A follower accepts writes of a leader whose epoch is over."""

    def _on_put(self, sender: int, put: m.Put) -> None:
        super()._on_put(sender, put._replace(epoch=max(put.epoch, self.epoch)))
        to, ack = self.outbox[-1]
        if isinstance(ack, m.PutAck):
            self.outbox[-1] = (to, ack._replace(epoch=put.epoch))


class TrustsLostStore(Replica):
    """A node does not notice that its power was cut, and votes as if it had lost nothing."""

    def _load(self) -> tuple[int, Any]:
        number, meta = super()._load()
        return number, meta._replace(is_doubtful=False, is_blank=False)


# Bugs of the store --------------------------------------------------------------------------------


class WriteHole(Replica):
    """A granule is overwritten in place, without a checksum: a power cut leaves a torn one."""

    def _slot_for(self, granule: int) -> int:
        return 0

    def _newest(self, granule: int) -> int:
        return 0

    def _is_whole(self, checksum: int, body: bytes) -> bool:
        return True


class OneSlot(Replica):
    """A granule is overwritten in place: a power cut destroys it, with all that was flushed."""

    def _slot_for(self, granule: int) -> int:
        return 0

    def _newest(self, granule: int) -> int:
        return 0


# Controls -----------------------------------------------------------------------------------------


class SlowFailover(Node):
    """A control: elections begin half a second later."""

    def _stagger(self) -> float:
        return super()._stagger() + 0.5


class ReadOnlyMinority(Leader):
    """A control: a leader that heard of no follower lately refuses writes at once."""

    def request(self, client: int, request: m.Request) -> None:
        """Refuse a write that cannot be done now."""
        if request.kind == m.Kind.READ or self.has_lease():
            super().request(client, request)
        else:
            message = m.NotLeader(request.client, request.number, 0)
            self.node.send(client, message)


class FullResync(Leader):
    """A control: a follower that comes back gets all granules, also those that are equal."""

    def _meet(self, peer_id: int, state: m.State, is_fenced: bool = False) -> None:
        super()._meet(peer_id, state, is_fenced)
        peer: Peer = self.peers[peer_id]
        peer.behind.update(dict.fromkeys(range(self._replica.granules), 0.0))
