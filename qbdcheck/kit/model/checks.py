"""The fixture ``model``: searches, exhaustive tries and recorded histories; it keeps failures."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mutants.catalogue import catalogue
from oracles.finding import Findings
from oracles.linearizability import Anomaly
from oracles.model import Player, Wrong
from oracles.scripts import Script
from oracles.timeline import timeline
from qbdcheck import clock
from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.model import concurrent, exhaustive
from qbdcheck.kit.model.cuts import Camera
from qbdcheck.kit.model.players import InProcess, OverNbd, through_qemu
from qbdcheck.kit.model.replay import SIZE, keep, played_first, saved_scripts
from qbdcheck.seed import Seed
from qbdcheck.targets.advertised_sizes import usable_size
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client
from reference_backend.server import Server
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

_LOSS_S = 0.01


class NotLinearizable(AssertionError):  # noqa: N818  # the verdict on a target
    """A recorded history is not linearizable; ``findings`` say in which sectors."""

    def __init__(self, anomalies: Sequence[Anomaly], findings: Findings) -> None:
        first = f"not linearizable, in {len(anomalies)} sectors"
        super().__init__(f"{first}\n{anomalies[0]}")
        self.findings = findings


class ModelChecks:
    """The actions of cases in suites/model.

    :param log: writes to full.log.
    """

    SIZE = SIZE
    BLOCKS_SIZE = exhaustive.SIZE

    def __init__(self, session: TargetSession, seed: Seed, log: Callable[..., None]) -> None:
        self._session = session
        self._seed = seed
        self._log = log
        self._rules: list[ArmedRules] = []
        self._players: list[OverNbd] = []
        self._saved = saved_scripts(session.execution.cache_dir, session.case_id, session.name)

    def close(self) -> None:
        """Close all players."""
        for player in self._players:
            player.close()
        for rules in self._rules:
            rules.settle()

    # Players -------------------------------------------------------------------------------------

    def over_nbd(self, disk: Disk, **options: Any) -> OverNbd:
        """Return a player through the raw client, with faults if the target takes them.

        :param options: ``structured`` and ``extended`` of the fixture ``nbd``.
        """
        rules: ArmedRules | None = None
        with contextlib.suppress(NotRun):
            if disk.backend.description.control is not None:
                rules = ArmedRules(disk, self._log, int(self._seed))
                self._rules.append(rules)
        player = OverNbd(disk, lambda: self._session.nbd(disk, **options), rules=rules)
        self._players.append(player)
        return player

    def through_qemu(self, disk: Disk) -> OverNbd:
        """Return a player through a qemu-storage-daemon."""
        player = through_qemu(disk, self._session.storage_daemon, self._session.nbd)
        self._players.append(player)
        return player

    def in_process(self, bug: str = "") -> InProcess:
        """Return a player of the reference volume without a server, perhaps with a planted bug."""
        return InProcess(catalogue()[bug] if bug else None)

    # Scripts -------------------------------------------------------------------------------------

    def search(self, player: Player, scripts: int, steps: int = 25) -> None:
        """Play the scripts that failed before, then random ones.

        :raise Wrong: a script failed; the shortest is saved in ``repro/`` and for the next run.
        """
        # Four cases need hypothesis. Each run would spend 0.2 s of CPU time on it.
        from qbdcheck.kit.model.machine import search

        self._failed_before(player)
        found = search(player, int(self._seed), scripts, steps)
        self._log(f"{found.scripts} scripts, {found.steps} steps")
        if found.best is not None:
            self._fail(*found.best)
        if found.steps < scripts:
            raise CaseBroken(f"only {found.steps} steps were played")

    def try_all(self, player: Player, depth: int) -> exhaustive.Tried:
        """Play all short sequences.

        :param depth: length of the longest, unless the command line sets it.
        :raise Wrong: a script failed; it is saved.
        """
        self._failed_before(player)
        depth = self._session.execution.depth or depth
        tried = exhaustive.try_all(player, depth, int(self._seed))
        if tried.wrong is not None:
            self._fail(*tried.wrong)
        return tried

    def _failed_before(self, player: Player) -> None:
        for script, wrong in played_first(self._saved, player, int(self._seed)):
            self._fail(script, wrong.within("(as in an earlier run) "))

    def _fail(self, script: Script, wrong: Wrong) -> None:
        text = str(wrong)
        keep(script, text, self._session.scratch, self._saved)
        steps = "\n".join(f"  {step}" for step in script.steps)
        steps = f"{len(script.steps)} steps on {script.size} bytes:\n{steps}"
        raise Wrong(f"{text}\n{steps}", wrong.findings)

    # Histories -----------------------------------------------------------------------------------

    def record(
        self,
        disk: Disk,
        clients: int,
        plan: concurrent.Plan,
        round_: int,
        connect: Callable[[], Client] | None = None,
    ) -> None:
        """Record the requests of clients, and judge their history.

        :param connect: makes the connection of each client; by default directly to the target.
        :raise AssertionError: a history is not linearizable.
        """
        opened = connect or (lambda: self._session.nbd(disk))
        plan = _in_blocks(plan, disk)
        self._prepare(disk, plan)
        seed = self._seed.derive("round", round_)
        history = concurrent.record(opened, clients, plan, seed)
        self._judge(history, disk, plan)

    def record_with_losses(
        self, disk: Disk, clients: int, plan: concurrent.Plan, rounds: int
    ) -> None:
        """Record rounds in which the clients, except the last, lose their connections in turn."""
        plan = _in_blocks(plan, disk)
        self._prepare(disk, plan)
        total = concurrent.History()
        numbers = 0
        for round_ in range(rounds):
            opened: list[Client] = []

            def connect(opened: list[Client] = opened) -> Client:
                opened.append(self._session.nbd(disk))
                return opened[-1]

            cutter = threading.Thread(target=_cut, args=(opened, clients), daemon=True)
            cutter.start()
            seed = self._seed.derive("round", round_)
            part = concurrent.record(connect, clients, plan, seed, first=numbers + 1)
            cutter.join()
            numbers += clients * plan.requests
            total.accesses += part.accesses
            total.mixed += part.mixed
            total.requests += part.requests
        self._judge(total, disk, plan)

    def record_with_snapshots(
        self,
        disk: Disk,
        clients: int,
        plan: concurrent.Plan,
        round_: int,
        *,
        count: int = 3,
        then: Callable[[], object] | None = None,
    ) -> Camera:
        """Take snapshots while clients write a fresh disk; judge each, and the disk at the end.

        :param then: called before anything is read, such as a power cut if all acknowledged data is
            durable.
        :raise AssertionError: a snapshot has not the contents of one moment between its request and
            its reply.
        """
        plan = _in_blocks(plan, disk)
        camera = Camera(disk, plan, count, self._session.nbd)
        camera.prepare()
        seed = self._seed.derive("round", round_)
        history = concurrent.record(
            lambda: self._session.nbd(disk), clients, plan, seed, meanwhile=camera.meanwhile
        )
        if then is not None:
            then()
        camera.judge(history)
        if history.mixed:
            history.anomalies()  # a sector of a snapshot may have parts of two writes in flight
        self._log(f"{history.requests} requests, {len(camera.taken)} snapshots")
        return camera

    def history_of(
        self, bug: str, clients: int, plan: concurrent.Plan, **options: str
    ) -> concurrent.History:
        """Record clients of the reference backend, in this process, with a planted bug."""
        volume = Volume(MemoryStore(plan.size), "v")
        volume.write(0, concurrent.initial(plan.size))
        layers = [catalogue()[bug](**options)]
        server = Server({"v": volume}, self._session.scratch / f"{bug[:8]}.s", layers=layers)
        server.start()
        try:
            return concurrent.record(
                lambda: Client.connect(server.address, "v"), clients, plan, int(self._seed)
            )
        finally:
            server.stop()

    def _prepare(self, disk: Disk, plan: concurrent.Plan) -> None:
        with self._session.nbd(disk) as client:
            client.write(0, concurrent.initial(plan.size))

    def _judge(self, history: concurrent.History, disk: Disk, plan: concurrent.Plan) -> None:
        with self._session.nbd(disk) as client:
            concurrent.final_reads(client, plan.size, history)
        begun = clock.now_s()
        anomalies = history.anomalies()
        self._log(f"{history.requests} requests, {len(history.accesses)} accesses of sectors,"
                  f" judged in {clock.now_s() - begun:.3f} s")  # fmt: skip
        met = sum(access.is_write for access in history.accesses)
        if met < plan.requests // 10:
            raise CaseBroken(f"only {met} writes of sectors were recorded")
        if anomalies:
            self._draw(anomalies[0], history)
            raise NotLinearizable(anomalies, history.findings())

    def _draw(self, anomaly: Anomaly, history: concurrent.History) -> None:
        repro: Path = self._session.scratch / "repro"
        repro.mkdir(exist_ok=True)
        picture = timeline(anomaly, history.accesses)
        (repro / "timeline.svg").write_text(picture, encoding="utf-8")


def _in_blocks(plan: concurrent.Plan, disk: Disk) -> concurrent.Plan:
    """Return a plan that uses whole minimum blocks of the disk."""
    return replace(plan, size=usable_size(disk.backend, plan.size))


def _cut(opened: list[Client], clients: int) -> None:
    """Shut down the sending side of all connections except the last, one after another.

    Replies may still arrive until the server closes the connection.
    """
    while len(opened) < clients:
        clock.pause(_LOSS_S / 10)
    for client in opened[: clients - 1]:
        clock.pause(_LOSS_S)
        with contextlib.suppress(OSError):
            client.sock.shutdown(1)
