"""One node: follows a leader, votes, and becomes the leader (`leader.Leader`) when it is elected.

The rules that keep data safe:

- An epoch and a vote are durable before they are answered. A node votes once in an epoch.
- A node that promised a leader its lease votes for no other one until the promise ends. After a
  start it waits that long, because it does not know its promises.
- A node refuses what a leader of an earlier epoch sends.
- A node that lost acknowledged writes (power cut) or its epoch (empty store) is doubtful, until a
  leader has sent it everything. A leader needs the votes of two nodes that are not doubtful, or
  those of all three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_backend.cluster import messages as m
from reference_backend.cluster.leader import Leader
from reference_backend.cluster.replica import Replica

To = int
"""The receiver of a message: a node, or a client."""


class Node:
    """The state of one node. Call `receive` and `tick`; send what is in ``outbox``.

    :param me: 1, 2 or 3. :param now: seconds of a clock that only rises, as everywhere here.
    """

    leader_class = Leader

    def __init__(self, me: int, replica: Replica, now: float) -> None:
        self.me = me
        self.replica = replica
        self.now = now
        self.outbox: list[tuple[To, m.Message]] = []
        self.wall: Callable[[], float] = lambda: now
        """The clock that people set. No rule may use it; a mutant does."""
        self.peers = [one for one in m.NODES if one != me]
        self.known_leader = 0
        self.leader: Leader | None = None
        self._votes: dict[int, m.State] = {}
        self._promised_until = now + m.PROMISE_S
        self._election_at = self._promised_until + self._stagger()
        self._handlers: dict[type, Callable[[int, Any], None]] = {
            m.Request: self._on_request, m.Ask: self._on_ask, m.Vote: self._on_vote,
            m.Old: self._on_old, m.Heartbeat: self._on_heartbeat, m.Introduce: self._on_introduce,
            m.Synced: self._on_synced, m.Fetch: self._on_fetch, m.Put: self._on_put,
            m.Sync: self._on_sync,
        }  # fmt: skip

    @property
    def epoch(self) -> int:
        """The highest epoch that the node knows."""
        return self.replica.meta.epoch

    def send(self, to: To, message: m.Message) -> None:
        """Put a message into the outbox."""
        self.outbox.append((to, message))

    def receive(self, sender: int, message: m.Message, now: float) -> None:
        """Handle a message that came at a time."""
        self.now = now
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(sender, message)
        elif self.leader is not None:
            self.leader.answer(sender, message)

    def tick(self, now: float) -> None:
        """Do what is due; call it every TICK_S."""
        self.now = now
        if self.leader is not None:
            self.leader.tick()
        elif now >= self._election_at:
            self._stand()

    def state(self) -> m.State:
        """Return what this node tells about itself."""
        meta = self.replica.meta
        table = self.replica.table
        return m.State(meta.incarnation, meta.is_doubtful, meta.is_blank, table)

    def _stagger(self) -> float:
        """Return when to stand for election after a promise: each node, and each time, differs."""
        return m.STAGGER_S * (1 + (self.me + 2 * self.epoch + self.epoch // 3) % len(m.NODES))

    # Elections

    def _stand(self) -> None:
        """Ask for votes in a new epoch."""
        self._adopt(self.epoch + 1, vote=self.me)
        self._votes = {self.me: self.state()}
        self._election_at = self.now + 2 * m.STAGGER_S + self._stagger()
        for peer in self.peers:
            self.send(peer, m.Ask(self.epoch))

    def _adopt(self, epoch: int, vote: int) -> None:
        """Enter an epoch; it is durable on return."""
        self.known_leader = 0
        self.leader = None
        self._votes = {}
        self._election_at = self.now + m.PROMISE_S + self._stagger()
        self._save_epoch(epoch, vote)

    def _save_epoch(self, epoch: int, vote: int) -> None:
        self.replica.save(self.replica.meta._replace(epoch=epoch, vote=vote))

    def _on_ask(self, sender: int, ask: m.Ask) -> None:
        meta = self.replica.meta
        if ask.epoch < meta.epoch:
            self.send(sender, m.Old(meta.epoch))
            return
        if self._has_promised():
            return
        if ask.epoch > meta.epoch:
            self._adopt(ask.epoch, vote=sender)
        if self.replica.meta.vote == sender:
            self.send(sender, m.Vote(ask.epoch, self.state()))

    def _has_promised(self) -> bool:
        return self.now < self._promised_until or (
            self.leader is not None and self.leader.has_lease()
        )

    def _on_vote(self, sender: int, vote: m.Vote) -> None:
        if vote.epoch != self.epoch or self.leader is not None or self.me not in self._votes:
            return
        self._votes[sender] = vote.state
        if self._is_elected(self._votes):
            self.leader = self.leader_class(self, self._votes)
            self.known_leader = self.me
            self.leader.tick()

    def _is_elected(self, votes: dict[int, m.State]) -> bool:
        sure = sum(not state.is_doubtful for state in votes.values())
        return sure >= m.QUORUM or len(votes) == len(m.NODES)

    def step_down(self) -> None:
        """Stop to lead; another node may be elected, or this one again."""
        self.leader = None
        self.known_leader = 0
        self._votes = {}
        self._election_at = self.now + m.PROMISE_S + self._stagger()

    def trust_own_store(self) -> None:
        """Note that this node has all that it may have lost."""
        meta = self.replica.meta
        if meta.is_doubtful or meta.is_blank:
            self.replica.save(meta._replace(is_doubtful=False, is_blank=False))

    def _on_old(self, _sender: int, old: m.Old) -> None:
        if old.epoch > self.epoch:
            self._adopt(old.epoch, vote=0)

    # A follower

    def _follows(self, sender: int, epoch: int) -> bool:
        """Return whether the sender leads now; tell it if its epoch is over."""
        if epoch < self.epoch:
            self.send(sender, m.Old(self.epoch))
            return False
        if epoch > self.epoch:
            self._adopt(epoch, vote=0)
        self.known_leader = sender
        return True

    def _on_heartbeat(self, sender: int, beat: m.Heartbeat) -> None:
        if not self._follows(sender, beat.epoch):
            return
        self._votes = {}
        self._promised_until = self.now + m.PROMISE_S
        self._election_at = self._promised_until + self._stagger()
        meta = self.replica.meta
        answer = m.HeartbeatAck(beat.epoch, meta.incarnation, meta.is_doubtful, beat.sent)
        self.send(sender, answer)

    def _on_introduce(self, sender: int, introduce: m.Introduce) -> None:
        if self._follows(sender, introduce.epoch):
            self.send(sender, m.Hello(introduce.epoch, self.state()))

    def _on_synced(self, sender: int, synced: m.Synced) -> None:
        same = synced.incarnation == self.replica.meta.incarnation
        if self._follows(sender, synced.epoch) and same:
            self.trust_own_store()

    def _on_fetch(self, sender: int, fetch: m.Fetch) -> None:
        if self._follows(sender, fetch.epoch):
            for one in fetch.granules:
                answer = m.Fetched(
                    fetch.epoch, self.replica.meta.incarnation, one, self.replica.get(one)
                )
                self.send(sender, answer)

    def _on_put(self, sender: int, put: m.Put) -> None:
        if not self._follows(sender, put.epoch):
            return
        if self._is_newer(put):
            self.replica.put(put.granule, put.record)
        incarnation, version = self.replica.meta.incarnation, self.replica.version(put.granule)
        self.send(sender, m.PutAck(put.epoch, incarnation, put.granule, version))

    def _is_newer(self, put: m.Put) -> bool:
        return put.record.version > self.replica.version(put.granule)

    def _on_sync(self, sender: int, sync: m.Sync) -> None:
        if self._follows(sender, sync.epoch):
            self.replica.sync()
            self.send(sender, m.SyncAck(sync.epoch, self.replica.meta.incarnation, sync.flush))

    def _on_request(self, sender: int, request: m.Request) -> None:
        if self.leader is not None:
            self.leader.request(sender, request)
        else:
            self.send(sender, m.NotLeader(request.client, request.number, self.known_leader))
