"""Compare the engine with QEMU's blkdebug: the same rules must fail the same requests.

One QEMU serves all examples. Each example exports its blkdebug node by NBD, directly or below a raw
node, and sends requests with a raw client, so that every errno arrives, also of a failed flush.

QBDCHECK_EXAMPLES sets how many examples; 400 unless set, thousands for a night.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, note, settings
from hypothesis import strategies as st

from blockio.layers import Command, CommandFlag
from injectors.layer import events_of_command
from injectors.rules import parse_ini
from injectors.rules.compile import to_blockdev
from injectors.rules.engine import Engine
from injectors.rules.events import IoType
from injectors.rules.model import RuleSet, SetState, error_rule, point
from qbdcheck.files import ROOT
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError
from tests.injectors.conftest import errno_of

EXAMPLES = int(os.environ.get("QBDCHECK_EXAMPLES", "400"))
SIZE = 1 << 20
COMMANDS = {
    Command[name]: (IoType(iotype), before, (after,) if after else ())
    for name, iotype, before, after in events_of_command()
    if name != "CACHE"
}
FROM_RAW = {"read_aio", "write_aio", "flush_to_os", "flush_to_disk"}
"""Events that a node above blkdebug raises: with none above they are silent."""
EVENTS = ["none", *sorted({one for _, before, after in COMMANDS.values()
                           for one in (*before, *after)})]  # fmt: skip
# Travel over NBD as they are; ENOTSUP would make the block layer try another way.
ERRNOS = [5, 28, 1, 12, 22, 75, 108, 0]
# Hypothesis likes the first of a list best: most rules shall be able to fire.
STATES = st.sampled_from([0, 0, 1, 1, 2, 3])
COMMON = st.sampled_from(["none", "read_aio", "write_aio", "pwritev", "pwritev_done"])

rules = st.builds(
    error_rule,
    event=COMMON | st.sampled_from(EVENTS),
    state=STATES,
    errno=st.sampled_from(ERRNOS),
    iotypes=st.none() | st.sampled_from(IoType).map(lambda kind: frozenset({kind})),
    spans=st.sampled_from([None, None, None, None, (point(0),), (point(3),), (point(8),)]),
    once=st.booleans(),
    immediately=st.booleans(),
)
changes = st.builds(
    SetState, event=COMMON | st.sampled_from(EVENTS), new_state=STATES, state=STATES
)
rule_sets = st.builds(
    RuleSet,
    st.lists(rules, min_size=2, max_size=6).map(tuple),
    st.lists(changes, max_size=4).map(tuple),
)
requests = st.lists(
    st.tuples(
        st.sampled_from([Command.READ, Command.WRITE, *COMMANDS]),
        st.sampled_from([0, 1024, 1536, 4096, 700]),
        st.sampled_from([512, 1024, 4096, 10]),
    ),
    min_size=4, max_size=16,
)  # fmt: skip


Wanted = tuple[Command, int, int]
"""A request: command, offset, length."""


class Blkdebug:
    """A QEMU that creates and exports a blkdebug node for each example."""

    def __init__(self, qemu: Any, directory: Path) -> None:
        self._qemu = qemu
        self.nodes: list[tuple[str, dict[str, Any]]] | None = None
        self._socket = str(directory / "s")
        image = directory / "image"
        # Written data: over a hole QEMU answers a block status without asking blkdebug's child.
        image.write_bytes(b"x" * SIZE)
        address = {"type": "unix", "data": {"path": self._socket}}
        qemu.run("nbd-server-start", addr=address)
        qemu.add("file", driver="file", filename=str(image), discard="unmap")

    def errnos(self, rule_set: RuleSet, has_raw: bool, wanted: list[Wanted]) -> list[int]:
        """Return the errno of each request, 0 for success."""
        made: list[str] = []
        try:
            for name, options in self._nodes(rule_set, has_raw):
                self._qemu.add(name, discard="unmap", **options)
                made.append(name)
            export = {"type": "nbd", "id": "e", "node-name": made[-1], "name": "e"}
            self._qemu.run("block-export-add", writable=True, **export)
            try:
                contexts = ["base:allocation"]
                with Client.connect(self._socket, "e", contexts=contexts) as client:
                    return [self._ask(client, *one) for one in wanted]
            finally:
                self._remove_export()
        finally:
            for name in reversed(made):
                self._qemu.run("blockdev-del", **{"node-name": name})

    def _nodes(self, rule_set: RuleSet, has_raw: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.nodes is not None:
            yield from self.nodes
            return
        yield "bd", to_blockdev(rule_set, "file")
        if has_raw:
            yield "raw", {"driver": "raw", "file": "bd"}

    def _remove_export(self) -> None:
        self._qemu.run("block-export-del", id="e", mode="hard")
        while self._qemu.run("query-block-exports"):
            pass

    def _ask(self, client: Client, command: Command, offset: int, length: int) -> int:
        if command is Command.FLUSH:
            offset = length = 0
        payload = bytes(length) if command is Command.WRITE else b""
        # DF: without it QEMU skips holes, and drops the connection where a read fails.
        flags = CommandFlag.DF if command is Command.READ else 0
        try:
            client.call(command, offset, length, flags=flags, payload=payload)
        except NbdError as error:
            return error.errno or 0
        return 0


@pytest.fixture(scope="module")
def blkdebug() -> Iterator[Blkdebug]:
    path = ROOT / "tools/docs/blkdebug_events.py"
    spec = importlib.util.spec_from_file_location("blkdebug_events", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    qemu = module.Qemu()
    with tempfile.TemporaryDirectory(prefix="q") as directory:
        yield Blkdebug(qemu, Path(directory))
        qemu.close()


def seen_by_engine(rule_set: RuleSet, has_raw: bool, wanted: list[Wanted]) -> list[int]:
    engine, is_dirty = Engine(rule_set), False
    seen: list[int] = []
    for command, offset, length in wanted:
        iotype, before, after = COMMANDS[command]
        if command is Command.FLUSH and not is_dirty:
            # The block layer drops it, after its event: nothing was written since the last.
            before = before[:1]
        for one in before:
            if has_raw or one not in FROM_RAW:
                engine.on_event(one)
        met = None
        if command is not Command.FLUSH:
            met = engine.decide(iotype, offset, length)
            is_dirty = is_dirty or command not in (Command.READ, Command.BLOCK_STATUS)
        elif is_dirty:
            met = engine.decide(iotype, 0, 0)
            is_dirty = met is not None
        for one in after:
            engine.on_event(one)
        seen.append(errno_of(met.rule) if met else 0)
    return seen


ONCE_AND_ZERO = RuleSet((error_rule("none", errno=0, once=True), error_rule("none")))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rule_sets, st.booleans(), requests)
@example(ONCE_AND_ZERO, True, [(Command.READ, 0, 512)] * 3)
@example(RuleSet((error_rule("none", once=True),)), True, [(Command.WRITE, 0, 512)] * 3)
def test_engine_and_blkdebug_fail_the_same_requests(
    blkdebug: Blkdebug, rule_set: RuleSet, has_raw: bool, wanted: list[Wanted]
) -> None:
    ours = seen_by_engine(rule_set, has_raw, wanted)
    event("faults" if any(ours) else "no fault")
    note(f"engine: {ours}")
    assert ours == blkdebug.errnos(rule_set, has_raw, wanted)


def test_the_generator_injects_often_enough() -> None:
    injected: list[bool] = []
    kinds: set[Command] = set()

    @settings(max_examples=500, deadline=None, database=None, derandomize=True)
    @given(rule_sets, st.booleans(), requests)
    def count(rule_set: RuleSet, has_raw: bool, wanted: list[Wanted]) -> None:
        seen = seen_by_engine(rule_set, has_raw, wanted)
        injected.append(any(seen))
        kinds.update(command for (command, *_), error in zip(wanted, seen, strict=True) if error)

    count()
    assert sum(injected) > len(injected) // 3
    assert kinds == set(COMMANDS), "every kind of request fails in some example"


def test_blkdebug_reads_the_written_conf(blkdebug: Blkdebug, tmp_path: Path) -> None:
    rule_set = RuleSet(
        (error_rule("write_aio", 28, state=2, spans=(point(8),), once=True),
         error_rule("read_aio", 12, iotypes=frozenset({IoType.READ}))),
        (SetState("write_aio", 2, state=1),),
    )  # fmt: skip
    conf = tmp_path / "rules.conf"
    conf.write_text(parse_ini.write(rule_set))
    from_conf = {"driver": "blkdebug", "image": "file", "config": str(conf)}
    wanted = [(Command.WRITE, 4096, 512)] * 3 + [(Command.READ, 0, 512)]
    blkdebug.nodes = [("bd", from_conf), ("raw", {"driver": "raw", "file": "bd"})]
    try:
        assert blkdebug.errnos(rule_set, True, wanted) == [0, 28, 0, 12]
    finally:
        blkdebug.nodes = None
