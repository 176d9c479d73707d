"""Measure when QEMU's blkdebug fires each of its events; write docs/blkdebug-events.md.

    .venv/bin/python tools/docs/blkdebug_events.py [--check]

How: one QEMU without a machine. For each operation and event the program makes a graph with a
blkdebug node, whose only rule is "from EVENT on, fail reads of sector 0". It runs the operation and
then reads sector 0 of the blkdebug node: this read fails exactly if the event fired. The read fires
no event itself, and no operation reads sector 0. Two rules with different errnos show which of two
events fired last, because the later event replaces the rules of the earlier one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import tty
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from injectors.rules.events import EVENTS, EVERY_OPEN  # noqa: E402  # the path is set above

PAGE = ROOT / "docs/blkdebug-events.md"
SEEN, LATER = 110, 28
WORDS = {"Connection timed out": SEEN, "No space left on device": LATER}


class Qemu:
    """A QEMU without a machine: its block layer, its monitor, and the output of qemu-io in it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._screen, terminal = os.openpty()  # a terminal, so that output comes line by line
        tty.setraw(terminal)
        os.set_blocking(self._screen, False)
        self._process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none", "-S",
             "-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "qmp,mode=control"],
            pass_fds=[theirs.fileno()], stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        os.close(terminal)
        self._lines = ours.makefile("rw")
        ours.close()
        greeting = self._receive()
        version = greeting["QMP"]["version"]
        self.version = "{major}.{minor}.{micro}".format(**version["qemu"])
        self.package = version["package"].strip(" ()")
        self.run("qmp_capabilities")

    def _receive(self) -> dict[str, Any]:
        while True:
            line = self._lines.readline()
            if not line:
                raise RuntimeError(f"QEMU died: {self.screen()}")
            message: dict[str, Any] = json.loads(line)
            if "event" not in message:
                return message

    def run(self, command: str, **arguments: Any) -> Any:
        """Carry out a QMP command; RuntimeError where it fails."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        reply = self._receive()
        if "error" in reply:
            raise RuntimeError(f"{command} {arguments}: {reply['error']['desc']}")
        return reply["return"]

    def screen(self) -> str:
        """Return what was printed since the last call."""
        text = b""
        with contextlib.suppress(BlockingIOError, OSError):
            while part := os.read(self._screen, 1 << 16):
                text += part
        return text.decode(errors="replace")

    def io(self, node: str, command: str) -> str:
        """Carry out a command of qemu-io on a node; return what it printed."""
        self.screen()
        line = f'qemu-io {node} "{command}"'
        told = self.run("human-monitor-command", **{"command-line": line})
        return str(told) + self.screen()

    def add(self, name: str, **options: Any) -> None:
        """Make a node."""
        self.run("blockdev-add", **{"node-name": name}, **options)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(RuntimeError, OSError):
            self.run("quit")
        self._lines.close()
        self._process.wait(20)
        os.close(self._screen)


class Graph(NamedTuple):
    """The nodes above the blkdebug node."""

    name: str
    about: str
    image: str
    """Command that makes IMAGE, the file beneath the blkdebug node."""
    above: tuple[dict[str, Any], ...]
    """Nodes from blkdebug ("bd") upwards; the last is where operations go."""
    beneath: tuple[dict[str, Any], ...] = ()
    """Nodes from the file ("file") up to the image of the blkdebug node, if not that file."""
    options: dict[str, Any] = {}
    """Further options of the blkdebug node."""


def _qcow2(name: str, options: str, size: str = "64M", **more: Any) -> Graph:
    about = f"qcow2 with {options}" if options else "qcow2"
    with_options = f"-o {options} " if options else ""
    image = f"qemu-img create -q -f qcow2 {with_options}IMAGE {size}"
    return Graph(name, about, image, ({"driver": "qcow2", "file": "bd"} | more,))


GRAPHS = {
    graph.name: graph
    for graph in (
        Graph("blkdebug", "blkdebug is the top node", "truncate -s 4M IMAGE", ()),
        Graph("raw", "raw over blkdebug", "truncate -s 4M IMAGE",
              ({"driver": "raw", "file": "bd"},)),
        _qcow2("qcow2", ""),
        _qcow2("small", "cluster_size=512,refcount_bits=64", "8M"),
        Graph("backed", "qcow2 with a backing file",
              "qemu-img create -q -f qcow2 -b BASE -F raw IMAGE 4M",
              ({"driver": "qcow2", "file": "bd", "backing": "base"},)),
        Graph("copied", "copy-on-read over blkdebug over qcow2 with a backing file",
              "qemu-img create -q -f qcow2 -b BASE -F raw IMAGE 4M",
              ({"driver": "copy-on-read", "file": "bd"},),
              beneath=({"driver": "qcow2", "file": "file", "backing": "base"},)),
        Graph("aligned", "blkdebug with align=4096 is the top node", "truncate -s 4M IMAGE", (),
              options={"align": 4096}),
        Graph("qcow", "qcow", "qemu-img create -q -f qcow IMAGE 4M",
              ({"driver": "qcow", "file": "bd"},)),
        Graph("qed", "qed", "qemu-img create -q -f qed IMAGE 4M",
              ({"driver": "qed", "file": "bd"},)),
        Graph("vmdk", "vmdk", "qemu-img create -q -f vmdk IMAGE 4M",
              ({"driver": "vmdk", "file": "bd"},)),
        Graph("vdi", "vdi", "qemu-img create -q -f vdi IMAGE 4M",
              ({"driver": "vdi", "file": "bd"},)),
        Graph("vhdx", "vhdx", "qemu-img create -q -f vhdx IMAGE 4M",
              ({"driver": "vhdx", "file": "bd"},)),
        Graph("vpc", "vpc", "qemu-img create -q -f vpc IMAGE 4M",
              ({"driver": "vpc", "file": "bd"},)),
    )
}  # fmt: skip


class Operation(NamedTuple):
    """An operation on a graph: its text in the table, the commands before it, and its commands.

    A command is one of qemu-io on the top node, or a key of QMP, or begins with ``qemu-img``.
    ``before`` is done on the image without blkdebug.
    """

    graph: str
    words: str
    before: tuple[str, ...]
    commands: tuple[str, ...]


FIRST = "write 64k 64k"
SNAPSHOT = "qemu-img snapshot -c s IMAGE"
QMP: dict[str, tuple[str, dict[str, Any]]] = {
    "snapshot": ("blockdev-snapshot-internal-sync", {"name": "s"}),
    "delete snapshot": ("blockdev-snapshot-delete-internal-sync", {"name": "s"}),
}


def _basic(graph: str) -> list[Operation]:
    """Return the operations that all formats have."""
    return [
        Operation(graph, "open", (), ()),
        Operation(graph, "read written data", (FIRST,), ("read 64k 4k",)),
        Operation(graph, "first write", (), (FIRST,)),
        Operation(graph, "overwrite", (FIRST,), ("write 64k 4k",)),
    ]


OPERATIONS = [
    *_basic("blkdebug"),
    Operation("blkdebug", "write -z", (FIRST,), ("write -z 64k 4k",)),
    Operation("blkdebug", "write then flush", (), (FIRST, "flush")),
    Operation("blkdebug", "discard", (FIRST,), ("discard 64k 64k",)),
    *_basic("raw"),
    Operation("raw", "write with FUA", (FIRST,), ("write -f 64k 4k",)),
    Operation("raw", "write -z", (FIRST,), ("write -z 64k 4k",)),
    Operation("raw", "flush with nothing to flush", (), ("flush",)),
    Operation("raw", "write then flush", (), (FIRST, "flush")),
    Operation("raw", "discard", (FIRST,), ("discard 64k 64k",)),
    Operation("raw", "block status", (FIRST,), ("map",)),
    Operation("raw", "resize", (), ("truncate 8M",)),
    Operation("aligned", "aligned write", (), ("write 64k 4k",)),
    Operation("aligned", "write of 512 bytes in the midst of a block", (), ("write 66048 512",)),
    Operation("aligned", "write from a block into the next", (), ("write 68608 2k",)),
    *_basic("qcow2"),
    Operation("qcow2", "read of unallocated clusters", (), ("read 64k 4k",)),
    Operation("qcow2", "first write of a part of a cluster", (), ("write 66048 512",)),
    Operation("qcow2", "write -z", (FIRST,), ("write -z 64k 64k",)),
    Operation("qcow2", "write -z -u", (FIRST,), ("write -z -u 64k 64k",)),
    Operation("qcow2", "discard", (FIRST,), ("discard 64k 64k",)),
    Operation("qcow2", "write then flush", (), (FIRST, "flush")),
    Operation("qcow2", "block status", (FIRST,), ("map",)),
    Operation("qcow2", "write compressed", (), ("write -c 64k 64k",)),
    Operation("qcow2", "read compressed", ("write -c 64k 64k",), ("read 64k 4k",)),
    Operation("qcow2", "overwrite compressed", ("write -c 64k 64k",), ("write 64k 4k",)),
    Operation("qcow2", "grow", (FIRST,), ("truncate 1G",)),
    Operation("qcow2", "grow to 2 TiB", (FIRST,), ("truncate 2T",)),
    Operation("qcow2", "shrink", ("write 32M 1M",), ("truncate 16M",)),
    Operation("qcow2", "snapshot", (FIRST,), ("snapshot",)),
    Operation("qcow2", "delete a snapshot", (FIRST, SNAPSHOT, FIRST),
              ("delete snapshot",)),
    Operation("qcow2", "write after a snapshot", (FIRST, SNAPSHOT), ("write 64k 4k",)),
    Operation("qcow2", "write the state of a machine", (), ("write -b 0 4k",)),
    Operation("qcow2", "load the state of a machine", ("write -b 0 4k",), ("read -b 0 4k",)),
    Operation("small", "many first writes", (), ("write 64k 2M",)),
    Operation("small", "shrink", ("write 64k 1M",), ("truncate 128k",)),
    Operation("backed", "read from the backing file", (), ("read 64k 4k",)),
    Operation("backed", "first write of a part of a cluster", (), ("write 66048 512",)),
    Operation("backed", "commit by qemu-img", (FIRST,), ("qemu-img commit -q IMAGE",)),
    Operation("copied", "read from the backing file", (), ("read 64k 4k",)),
    *_basic("qcow"), *_basic("qed"), *_basic("vmdk"), *_basic("vdi"), *_basic("vhdx"),
    *_basic("vpc"),
]  # fmt: skip
"""The graphs in the order of the page."""


class Bench:
    """Measures operations in one QEMU and one directory."""

    def __init__(self, qemu: Qemu, directory: Path) -> None:
        self._qemu = qemu
        self._image = directory / "image"
        self._base = directory / "base"
        self._pristine = directory / "pristine"
        self._of_open: dict[str, list[str]] = {}

    def events_of(self, operation: Operation) -> list[str]:
        """Return the events that an operation fires, in the order of their last time.

        Without those of the opening, unless it is the opening.
        """
        graph = GRAPHS[operation.graph]
        self._prepare(graph, operation)
        fired = [event for event in EVENTS if self._last(graph, operation, [event])]
        if operation.commands and operation.graph not in self._of_open:
            self._of_open[operation.graph] = self.events_of(Operation(operation.graph, "", (), ()))
            self._prepare(graph, operation)
        if operation.commands:
            fired = [event for event in fired if event not in self._of_open[operation.graph]]
        if not can_be_ordered(operation):
            return fired
        beaten = dict.fromkeys(fired, 0)  # how many others had their last time before
        # The event none comes first, and may make the opening fail.
        for pair in combinations([event for event in fired if event != EVERY_OPEN], 2):
            beaten[pair[self._last(graph, operation, pair) == LATER]] += 1
        return sorted(fired, key=lambda event: (event != EVERY_OPEN, beaten[event]))

    def _prepare(self, graph: Graph, operation: Operation) -> None:
        subprocess.run(["truncate", "-s", "4M", self._base], check=True)
        self._shell(graph.image)
        for command in operation.before:
            if command.startswith("qemu-img"):
                self._shell(command)
                continue
            words = ["qemu-io", "-t", "writeback", "-c", command]
            format_name = graph.above[-1]["driver"] if graph.above else "raw"
            done = subprocess.run([*words, "-f", format_name, self._image], capture_output=True,
                                  text=True, check=True)  # fmt: skip
            if "failed" in done.stdout:
                raise RuntimeError(f"{command}: {done.stdout}")
        shutil.copyfile(self._image, self._pristine)

    def _shell(self, command: str) -> None:
        names = {"IMAGE": str(self._image), "BASE": str(self._base)}
        subprocess.run([names.get(word, word) for word in command.split()], check=True)

    def _last(self, graph: Graph, operation: Operation, events: Sequence[str]) -> int:
        """Return the errno of the event that fired last, 0 if none did."""
        # A sparse copy: what is measured must not depend on what the last run left.
        subprocess.run(["cp", "--sparse=always", self._pristine, self._image], check=True)
        rules = [
            {"event": event, "errno": errno, "iotype": "read", "sector": 0}
            for event, errno in zip(events, (SEEN, LATER), strict=False)
        ]
        if operation.commands and operation.commands[0].startswith("qemu-img"):
            return self._last_of_program(graph, operation.commands[0], events[0])
        blkdebug = {"driver": "blkdebug", "image": "file", "inject-error": rules} | graph.options
        if graph.beneath:
            blkdebug["image"] = "beneath"
        made: list[str] = []
        try:
            with self._nodes(graph, blkdebug, made):
                for command in operation.commands:
                    self._do(made[-1], command)
                return _errno(self._qemu.io("bd", "read 0 512"))
        except RuntimeError as error:
            # An event of the opening makes the opening itself fail: it does not without the rule.
            if "blockdev-add" in str(error):
                return SEEN
            raise

    @contextlib.contextmanager
    def _nodes(self, graph: Graph, blkdebug: dict[str, Any], made: list[str]) -> Iterator[None]:
        raw = {"driver": "file", "discard": "unmap"}
        nodes = [("base", raw | {"filename": str(self._base)}),
                 ("file", raw | {"filename": str(self._image)})]  # fmt: skip
        nodes += [("beneath", options) for options in graph.beneath]
        nodes += [("bd", blkdebug)]
        nodes += [("top", {"discard": "unmap"} | options) for options in graph.above]
        try:
            for name, options in nodes:
                self._qemu.add(name, **options)
                made.append(name)
            yield
        finally:
            for name in reversed(made):
                self._qemu.run("blockdev-del", **{"node-name": name})

    def _do(self, node: str, command: str) -> None:
        if command in QMP:
            name, arguments = QMP[command]
            self._qemu.run(name, device=node, **arguments)
            return
        printed = self._qemu.io(node, command)
        if re.search("failed|[Ee]rror", printed) and not _errno(printed):
            raise RuntimeError(f"{command}: {printed}")

    def _last_of_program(self, graph: Graph, command: str, event: str) -> int:
        """Tell whether an event fires in a program of its own: then it fails from there on."""
        file = {"driver": "file", "filename": str(self._image)}
        rules = [{"event": event, "errno": SEEN}]
        node = {"driver": "blkdebug", "image": file, "inject-error": rules}
        top = graph.above[-1] | {"file": node}
        if "backing" in top:
            top["backing"] = {"driver": "raw", "file": {"driver": "file",
                                                        "filename": str(self._base)}}  # fmt: skip
        words = ["json:" + json.dumps(top) if word == "IMAGE" else word for word in command.split()]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode and not _errno(done.stderr):
            raise RuntimeError(f"{command}: {done.stderr}")
        return _errno(done.stderr)


def can_be_ordered(operation: Operation) -> bool:
    """Tell whether it can be measured which event came last."""
    slow = operation.graph == "small"  # thousands of allocations in each of a hundred pairs
    return not slow and not any(one.startswith("qemu-img") for one in operation.commands)


def _errno(text: str) -> int:
    found = re.findall("|".join(WORDS), text)
    return WORDS[found[-1]] if found else 0


# Section: the page

Measured = dict[Operation, list[str]]


def measure(operations: Sequence[Operation] = OPERATIONS) -> tuple[str, Measured]:
    """Return QEMU's version, and the events of each operation."""
    qemu = Qemu()
    try:
        with tempfile.TemporaryDirectory(prefix="q") as directory:
            bench = Bench(qemu, Path(directory))
            found = {operation: bench.events_of(operation) for operation in operations}
    finally:
        qemu.close()
    return f"{qemu.version} ({qemu.package})", found


def page(version: str, measured: Measured) -> str:
    """Return the page."""
    parts = [INTRODUCTION.format(version=version), "", "## By event", ""]
    parts += ["| event | when | seen here |", "|---|---|---|"]
    parts += [f"| `{event}` | {EVENTS[event]} | {_seen(event, measured)} |" for event in EVENTS]
    parts += ["", "## By operation", "", BY_OPERATION, ""]
    for graph in GRAPHS.values():
        title = graph.name if graph.name == graph.about else f"{graph.name}: {graph.about}"
        parts += [f"### {title}", "", "| operation | events |", "|---|---|"]
        parts += [
            f"| {one.words} | {_listed(one, events)} |"
            for one, events in measured.items()
            if one.graph == graph.name
        ]
        parts.append("")
    return "\n".join([*parts, IN_OUR_PLACE, "", *_our_place()]) + "\n"


INTRODUCTION = """\
# The events of blkdebug

Made by `tools/docs/blkdebug_events.py`, which measures it in a running QEMU; do not edit.
QEMU: {version}

An event is raised by a node for the node below it (its `file` child), and only a blkdebug node \
that is that child hears it. So `read_aio` needs a `raw` or another format above blkdebug. The \
`pwritev` family, `cor_write` and the read-modify-write events are raised by the block layer for \
the node that is written to, whatever is above."""
BY_OPERATION = """\
In the order in which each event fires for the last time, since a later event replaces the active \
rules of an earlier one. Events in braces could not be put in order. The events of the opening \
are not repeated."""
IN_OUR_PLACE = """\
## In the reference backend and the fault proxy

There the requests are those of NBD. They fire what a raw node over blkdebug fires (a test holds \
the two together):"""


def _seen(event: str, measured: Measured) -> str:
    graphs: dict[str, list[str]] = {}
    for operation, events in measured.items():
        if event in events:
            graphs.setdefault(operation.graph, []).append(operation.words)
    if not graphs:
        return "never"
    told = []
    for graph, words in graphs.items():
        more = f" and {len(words) - 2} more" if len(words) > 2 else ""
        told.append(f"{graph}: {', '.join(words[:2])}{more}")
    return "; ".join(told)


def _listed(operation: Operation, events: list[str]) -> str:
    words = " ".join(f"`{event}`" for event in events) or "none"
    return words if can_be_ordered(operation) or not events else "{ " + words + " }"


def _our_place() -> list[str]:
    from injectors.layer import events_of_command

    lines = ["| request | iotype | events before | after |", "|---|---|---|---|"]
    for command, iotype, before, after in events_of_command():
        events = " ".join(f"`{event}`" for event in before) or "none"
        lines.append(f"| {command} | {iotype} | {events} | {f'`{after}`' if after else 'none'} |")
    return lines


def main() -> int:
    """Measure and write the page; with --check say whether the page would change."""
    text = page(*measure())
    if "--check" in sys.argv:
        return int(PAGE.read_text() != text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
