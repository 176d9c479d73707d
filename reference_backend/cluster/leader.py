"""What a node does while it leads: recovers, replicates writes, reads under its lease, flushes.

A leader does one request at a time on each granule. A write that is not on a quorum yet keeps its
granule busy, so that no read sees what a failover may undo.

``Peer.behind`` is the dirty regions of a follower: the granules of which it is not known to have
the newest version. They are sent again until it answers, and that is all of the resync: after a
lost message, after a partition, and for a store that was empty.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reference_backend.cluster import messages as m
from reference_backend.cluster.messages import Kind

if TYPE_CHECKING:
    from reference_backend.cluster.node import Node

_LONG_AGO = float("-inf")


@dataclass
class Peer:
    """What the leader knows about a follower.

    :ivar is_fenced: it knows its epoch, so it refuses earlier leaders: its answers count.
    :ivar behind: granules that it may not have, and when they were sent to it last.
    :ivar restoring: granules that it may have lost; None if it has lost nothing.
    :ivar beat_sent: when the last heartbeat was sent that it answered.
    """

    incarnation: int
    is_fenced: bool = False
    behind: dict[int, float] = field(default_factory=dict)
    restoring: set[int] | None = None
    beat_sent: float = _LONG_AGO


@dataclass
class _Write:
    """A version on its way to a quorum; without a request in a recovery."""

    version: m.Version
    client: int = 0
    request: m.Request | None = None


@dataclass
class _Flush:
    """A flush: what each follower lacks of the writes that were there when it began."""

    client: int
    request: m.Request
    lacks: dict[int, dict[int, m.Version]] = field(default_factory=dict)


class Leader:
    """A leader in one epoch.

    :param votes: the states of the nodes that elected it, itself among them.
    """

    def __init__(self, node: Node, votes: dict[int, m.State]) -> None:
        self.node = node
        self.epoch = node.epoch
        self.peers: dict[int, Peer] = {}
        self._replica = node.replica
        self._since = node.now
        self._number = 0
        self._busy: dict[int, _Write] = {}
        self._queues: dict[int, deque[tuple[int, m.Request]]] = {}
        self._flushes: dict[int, _Flush] = {}
        self._votes = votes
        self._missing = self._newer_elsewhere(votes)
        self._is_recovered = False
        self._recover()

    # Recovery

    def _newer_elsewhere(self, votes: dict[int, m.State]) -> dict[int, int]:
        """Return the granules of which a voter has a newer version, and that voter."""
        missing = {}
        own = votes[self.node.me].table
        for granule, version in enumerate(own):
            best = max(votes, key=lambda voter: votes[voter].table[granule])
            if votes[best].table[granule] > version:
                missing[granule] = best
        return missing

    def _recover(self) -> None:
        """Finish the recovery when the newest version of each granule is here.

        Where the voters differ, a write may be on one node only. It is written again, in this
        epoch, before the granule is read or written.
        """
        if self._missing or self._is_recovered:
            return
        self._is_recovered = True
        self.node.trust_own_store()
        is_everyone = len(self._votes) == len(m.NODES)
        for voter, state in self._votes.items():
            if voter != self.node.me:
                self._meet(voter, state, is_fenced=is_everyone)
        for granule, *versions in self._versions_of_voters():
            if len(set(versions)) > 1:
                self._replicate(granule, self._replica.get(granule), _Write((0, 0)))

    def _versions_of_voters(self) -> list[tuple[int, m.Version]]:
        tables = [state.table for state in self._votes.values()]
        return [(number, *versions) for number, versions in enumerate(zip(*tables, strict=True))]

    def _on_fetched(self, sender: int, fetched: m.Fetched) -> None:
        voter = self._votes.get(sender)
        is_same = voter is not None and voter.incarnation == fetched.incarnation
        if is_same and self._missing.get(fetched.granule) == sender:
            self._replica.put(fetched.granule, fetched.record)
            del self._missing[fetched.granule]
            self._recover()

    # Followers

    def _meet(self, peer_id: int, state: m.State, is_fenced: bool = False) -> None:
        """Note the state of an incarnation of a follower, and what it lacks."""
        peer = self.peers.get(peer_id)
        if peer is not None and peer.incarnation > state.incarnation:
            return
        if peer is None or peer.incarnation < state.incarnation:
            peer = self.peers[peer_id] = Peer(state.incarnation)
        peer.behind = dict.fromkeys(self._behind(state), _LONG_AGO)
        peer.restoring = set(peer.behind) if state.is_doubtful else None
        peer.is_fenced |= is_fenced or not state.is_blank
        for flush in self._flushes.values():
            flush.lacks[peer_id] = {one: self._replica.version(one) for one in peer.behind}
        for granule, version in enumerate(state.table):
            self._replace_stray(granule, version)
        self._end_restoring(peer_id, peer)
        self._commit_held(peer)

    def _behind(self, state: m.State) -> set[int]:
        """Return the granules of which a follower has another version than this node."""
        return {
            granule
            for granule, version in enumerate(state.table)
            if version != self._replica.version(granule)
        }

    def _replace_stray(self, granule: int, version: m.Version) -> None:
        """Overwrite a version that never was on a quorum, and that no recovery found."""
        if version > self._replica.version(granule) and granule not in self._busy:
            self._replicate(granule, self._replica.get(granule), _Write((0, 0)))

    def _end_restoring(self, peer_id: int, peer: Peer) -> None:
        """Tell a follower that it has got back all that it may have lost."""
        if peer.restoring is None or peer.restoring:
            return
        if not peer.is_fenced and not self.has_lease():
            return  # this leader may be an old one: let it not mislead a node without an epoch
        peer.is_fenced = True
        self.node.send(peer_id, m.Synced(self.epoch, peer.incarnation))
        self._commit_held(peer)

    def _commit_held(self, peer: Peer) -> None:
        """Answer the writes that a follower has, now that its answers count."""
        for granule, write in list(self._busy.items()):
            if peer.is_fenced and granule not in peer.behind and granule in self._busy:
                self._committed(granule, write)

    def answer(self, sender: int, message: m.Message) -> None:
        """Handle the answer of a follower."""
        if isinstance(message, m.Hello | m.Fetched) and message.epoch == self.epoch:
            if isinstance(message, m.Fetched):
                self._on_fetched(sender, message)
            elif self._is_recovered:
                self._meet(sender, message.state)
        elif isinstance(message, m.HeartbeatAck | m.PutAck | m.SyncAck):
            if message.epoch != self.epoch or not self._is_recovered:
                return
            peer = self.peers.get(sender)
            if peer is None or peer.incarnation != message.incarnation:
                self.node.send(sender, m.Introduce(self.epoch))
            elif isinstance(message, m.HeartbeatAck):
                peer.beat_sent = max(peer.beat_sent, message.sent)
                if not message.is_doubtful:
                    peer.restoring = None
            elif isinstance(message, m.PutAck):
                self._on_put_ack(sender, peer, message)
            else:
                self._on_sync_ack(peer, message)

    def has_lease(self) -> bool:
        """Return whether no other node can have been elected yet."""
        answered = [peer.beat_sent for peer in self.peers.values() if peer.is_fenced]
        return self._lease_clock() < max(answered, default=_LONG_AGO) + m.LEASE_S

    def _lease_clock(self) -> float:
        return self.node.now

    def tick(self) -> None:
        """Send heartbeats, and again what was not answered."""
        if self._is_given_up():
            self.node.step_down()
            return
        for peer_id in self.node.peers:
            self.node.send(peer_id, m.Heartbeat(self.epoch, self._lease_clock()))
        for granule, peer_id in list(self._missing.items())[: m.BATCH]:
            self.node.send(peer_id, m.Fetch(self.epoch, (granule,)))
        for peer_id, peer in self.peers.items():
            due = [one for one, sent in peer.behind.items() if self.node.now >= sent + m.RETRY_S]
            for granule in due[: m.BATCH]:
                peer.behind[granule] = self.node.now
                self.node.send(peer_id, m.Put(self.epoch, granule, self._replica.get(granule)))
            self._end_restoring(peer_id, peer)
        for number, flush in self._flushes.items():
            self._ask_for_sync(number, flush)

    def _is_given_up(self) -> bool:
        """Return whether this leader hears of nobody: then others cannot elect a better one."""
        heard = max((peer.beat_sent for peer in self.peers.values()), default=_LONG_AGO)
        return self._lease_clock() > max(heard, self._since) + m.FETCH_LIMIT_S

    # Requests

    def request(self, client: int, request: m.Request) -> None:
        """Do a request, or queue it behind the one that its granule is busy with."""
        if not self._is_recovered:
            return  # the gateway asks again
        if request.kind == Kind.FLUSH:
            self._flush(client, request)
        elif request.granule in self._busy and not self._may_overtake(request):
            self._queues.setdefault(request.granule, deque()).append((client, request))
        else:
            self._serve(client, request)

    def _may_overtake(self, _request: m.Request) -> bool:
        return False

    def _serve(self, client: int, request: m.Request) -> None:
        record = self._replica.get(request.granule)
        if request.kind == Kind.READ:
            if self.has_lease():
                self._reply(client, request, record.data)
        elif self._is_done(record, request):
            self._reply(client, request)
        else:
            start, end = request.start, request.start + len(request.data)
            data = record.data[:start] + request.data + record.data[end:]
            others = tuple(one for one in record.origins if one[0] != request.client)
            origins = (*others, (request.client, request.number))
            changed = m.Record(record.version, origins, data)
            self._replicate(request.granule, changed, _Write((0, 0), client, request))

    def _is_done(self, record: m.Record, request: m.Request) -> bool:
        """Return whether a write is a repeated one that took effect before."""
        return dict(record.origins).get(request.client, 0) >= request.number

    def _replicate(self, granule: int, record: m.Record, write: _Write) -> None:
        self._number += 1
        write.version = (self.epoch, self._number)
        record = record._replace(version=write.version)
        self._replica.put(granule, record)
        self._busy[granule] = write
        for peer_id, peer in self.peers.items():
            peer.behind[granule] = self.node.now
            self.node.send(peer_id, m.Put(self.epoch, granule, record))

    def _on_put_ack(self, peer_id: int, peer: Peer, ack: m.PutAck) -> None:
        granule, version = ack.granule, ack.version
        self._replace_stray(granule, version)
        if version == self._replica.version(granule):
            peer.behind.pop(granule, None)
        if peer.restoring:
            peer.restoring.discard(granule)
            self._end_restoring(peer_id, peer)
        for number, flush in self._flushes.items():
            lacks = flush.lacks.get(peer_id, {})
            if granule in lacks and version >= lacks[granule]:
                del lacks[granule]
                self._ask_for_sync(number, flush)
        write = self._busy.get(granule)
        if write is not None and peer.is_fenced and version >= write.version:
            self._committed(granule, write)

    def _committed(self, granule: int, write: _Write) -> None:
        """Answer a write that is on a quorum, and continue with the queue of the granule."""
        del self._busy[granule]
        if write.request is not None:
            self._reply(write.client, write.request)
        queue = self._queues.get(granule)
        while queue and granule not in self._busy:
            self._serve(*queue.popleft())
        if not queue:
            self._queues.pop(granule, None)

    def _reply(self, client: int, request: m.Request, data: bytes = b"") -> None:
        self.node.send(client, m.Reply(request.client, request.number, data))

    # Flushes

    def _flush(self, client: int, request: m.Request) -> None:
        """Make durable here, and on a follower, all that was acknowledged before."""
        for flush in self._flushes.values():
            if flush.request == request:
                return
        self._replica.sync()
        self._number += 1
        flush = _Flush(client, request)
        for peer_id, peer in self.peers.items():
            flush.lacks[peer_id] = {one: self._replica.version(one) for one in peer.behind}
        self._flushes[self._number] = flush
        self._ask_for_sync(self._number, flush)

    def _ask_for_sync(self, number: int, flush: _Flush) -> None:
        for peer_id, lacks in flush.lacks.items():
            if not lacks:
                self.node.send(peer_id, m.Sync(self.epoch, number))

    def _on_sync_ack(self, peer: Peer, ack: m.SyncAck) -> None:
        if peer.is_fenced and (flush := self._flushes.pop(ack.flush, None)) is not None:
            self._reply(flush.client, flush.request)
