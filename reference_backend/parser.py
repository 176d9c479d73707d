"""The argparse parser of the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from blockio.sizes import parse_size

DESCRIPTION = (
    "A correct NBD server with faults and power cuts on command, to test QEMU and qbdcheck."
)
FEATURES = (
    "structured", "extended", "df", "fua", "flush", "trim", "write-zeroes", "fast-zero", "cache",
    "multi-conn", "block-status", "dirty", "block-size", "fixed-newstyle", "no-zeroes",
)  # fmt: skip
"""The features of ``--no-FEATURE``: the fields of nbd.settings.Features (checked by a test)."""

LAYER = "MODULE:CLASS[:KEY=VALUE...]"


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line and exits with status 2."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        # A fixed width: to find the terminal's width, argparse would import shutil at each start,
        # because add_argument() makes a formatter too.
        return argparse.HelpFormatter(self.prog, width=98)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_serve(commands: argparse._SubParsersAction[_Parser]) -> None:
    serve = commands.add_parser("serve", help="serve volumes over NBD")
    what = serve.add_argument_group("volumes (exactly one)")
    what = what.add_mutually_exclusive_group(required=True)
    what.add_argument("--pool", metavar="DIR", help="serve all volumes in this directory")
    what.add_argument("--memory", metavar="SIZE", type=_size, help="serve a volume in memory")
    what.add_argument("--image", metavar="FILE", help="serve one raw file or block device")
    where = serve.add_argument_group("address (exactly one)").add_mutually_exclusive_group(
        required=True
    )
    where.add_argument("--socket", metavar="PATH", help="listen on a Unix socket, mode 0600")
    where.add_argument("--listen", metavar="HOST:PORT", help="listen on TCP; port 0: any free port")
    add = serve.add_argument
    add(
        "--allow-remote",
        action="store_true",
        help="allow --listen on other addresses than loopback",
    )
    add(
        "--export-name",
        action="append",
        default=[],
        metavar="NAME[=SIZE]",
        help="name of a memory volume; repeatable",
    )
    add("--control", metavar="PATH", help="offer QMP on this Unix socket; required for power cuts")
    add("--read-only", action="store_true", help="refuse all changes")
    add("--tls-certs", metavar="DIR", help="offer TLS with the x509 files of this directory")
    add("--tls-required", action="store_true", help="refuse clients without TLS")
    add("--tls-verify-peer", action="store_true", help="require client certificates of the CA")
    add("--min-block", metavar="N", type=_size, default=1, help="minimum block size (default 1)")
    add("--preferred-block", metavar="N", type=_size, help="preferred block size (default 4k)")
    add(
        "--max-block",
        metavar="N",
        type=_size,
        default=32 << 20,
        help="maximum request size (default 32M)",
    )
    add("--vhost-user", metavar="PATH", help="serve the first volume by vhost-user-blk as well")
    cache = "volatile: a power cut loses unflushed writes; through: every write is durable"
    add("--write-cache", choices=("volatile", "through"), default="volatile", help=cache)
    add(
        "--undo-limit",
        metavar="SIZE",
        type=_size,
        help="most bytes that a power cut can lose (default 64M)",
    )
    add("--max-connections", metavar="N", type=int, help="close connections beyond this number")
    add("--layer", action="append", default=[], metavar=LAYER, help="add a layer; repeatable")
    add("--rules", metavar="FILE", help="fault rules (docs/rules.md)")
    add("--seed", metavar="N", type=int, default=0, help="seed of random decisions of rules")
    add("--pid-file", metavar="PATH", help="write the process id when ready; remove it at the end")
    add("--ready-fd", metavar="FD", type=int, help="write 'ready ADDRESS' to FD instead of stdout")
    features = serve.add_argument_group("features to switch off")
    for name in FEATURES:
        features.add_argument(
            f"--no-{name}", dest="without", action="append_const", const=name, default=[]
        )


def _add_proxy(commands: argparse._SubParsersAction[_Parser]) -> None:
    proxy = commands.add_parser("proxy", help="inject faults in front of any NBD server")
    add = proxy.add_argument
    add("--to", metavar="URI", required=True, help="URI of the target NBD server")
    add("--socket", metavar="PATH", required=True, help="listen on a Unix socket, mode 0600")
    add("--control", metavar="PATH", help="offer QMP on this Unix socket, to change rules")
    add("--layer", action="append", default=[], metavar=LAYER, help="add a layer; repeatable")
    add("--rules", metavar="FILE", help="fault rules (docs/rules.md)")
    add("--seed", metavar="N", type=int, default=0, help="seed of random decisions of rules")
    add("--ready-fd", metavar="FD", type=int, help="write 'ready ADDRESS' to FD instead of stdout")


def _add_vhost_user(commands: argparse._SubParsersAction[_Parser]) -> None:
    about = "serve the disk of a vhost-user-blk daemon over NBD"
    bridge = commands.add_parser("vhost-user", help=about)
    add = bridge.add_argument
    add("--to", metavar="PATH", required=True, help="Unix socket of the daemon")
    add("--socket", metavar="PATH", required=True, help="listen on a Unix socket, mode 0600")
    add("--export-name", default="", metavar="NAME", help="name of the export (default: none)")
    add(
        "--seed", metavar="N", type=int, default=0, help="seed of the choice of segments and queues"
    )
    add("--ready-fd", metavar="FD", type=int, help="write 'ready ADDRESS' to FD instead of stdout")
    command = "command of the daemon, after --; it ends with this process"
    add("daemon", nargs="*", metavar="COMMAND", help=command)


def _add_cluster(commands: argparse._SubParsersAction[_Parser]) -> None:
    cluster = commands.add_parser("cluster", help="serve a volume that three nodes keep")
    add = cluster.add_argument
    add("--dir", metavar="DIR", required=True, help="directory of stores and sockets of nodes")
    add("--size", metavar="SIZE", type=_size, required=True, help="size of the volume")
    add("--socket", metavar="PATH", required=True, help="Unix socket for NBD; DIR/nbd-N.sock else")
    slow_down = "make all times of the protocol longer by this factor, on a loaded machine"
    add("--slow-down", metavar="X", type=float, default=1.0, help=slow_down)
    add("--node", metavar="N", type=int, help="run this node only (1 to 3; default: all)")
    add(
        "--peer",
        action="append",
        default=[],
        metavar="N=PATH",
        help="socket by which node N is reached (default DIR/node-N.sock); repeatable",
    )


def _add_pool_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    def add(name: str, about: str, *positional: str) -> _Parser:
        command = commands.add_parser(name, help=about)
        command.add_argument("--pool", metavar="DIR", required=True, help="directory of volumes")
        for each in positional:
            command.add_argument(each, type=_size if each == "size" else str)
        return command

    add("create", "create a volume", "name", "size")
    listing = add("list", "list volumes")
    info = add("info", "describe a volume", "name")
    for command in (listing, info):
        command.add_argument("--json", action="store_true", help="print JSON")
    add("resize", "set the size of a volume", "name", "size")
    snapshot = add("snapshot", "create, list, delete or clone snapshots", "name")
    snapshot.add_argument("snapshot", nargs="?", help="name of the new snapshot")
    which = snapshot.add_mutually_exclusive_group()
    which.add_argument("--delete", action="store_true", help="delete the snapshot")
    which.add_argument("--clone", metavar="NEW", help="create a writable volume from the snapshot")
    add("rm", "remove a volume with its snapshots, or one snapshot (NAME@SNAPSHOT)", "name")


def _program() -> str:
    """Return the name of the command as it was typed: a wheel installs it as qbd-backend."""
    typed = Path(sys.argv[0]).name
    return typed if typed == "qbd-backend" else "reference_backend"


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or only of the part for ``command``."""
    top = _Parser(prog=_program(), description=DESCRIPTION)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    if command != "pool":
        _add_serve(commands)
    if command != "serve":
        _add_proxy(commands)
        _add_vhost_user(commands)
        _add_cluster(commands)
        _add_pool_commands(commands)
    return top
