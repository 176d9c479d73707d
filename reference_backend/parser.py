"""What the command line knows, for argparse."""

from __future__ import annotations

import argparse
from typing import NoReturn

from blockio.sizes import parse_size

DESCRIPTION = (
    "The command line: ``reference_backend serve|proxy|create|list|info|resize|snapshot|rm``."
)
FEATURES = (
    "structured", "extended", "df", "fua", "flush", "trim", "write-zeroes", "fast-zero", "cache",
    "multi-conn", "block-status", "dirty", "block-size", "fixed-newstyle", "no-zeroes",
)  # fmt: skip
"""What ``--no-FEATURE`` switches off: the fields of nbd.settings.Features, as a test checks."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and exits with 2."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        # A width of our own: to ask for the terminal's, argparse imports shutil and all beneath it,
        # at each start, as add_argument() makes a formatter too.
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
    what = serve.add_argument_group("what to serve (one of)")
    what = what.add_mutually_exclusive_group(required=True)
    what.add_argument("--pool", metavar="DIR", help="all volumes of this directory")
    what.add_argument("--memory", metavar="SIZE", type=_size, help="a volume in memory")
    what.add_argument("--image", metavar="FILE", help="one raw file or block device")
    where = serve.add_argument_group("where (one of)").add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", metavar="PATH", help="a Unix socket, mode 0600")
    where.add_argument("--listen", metavar="HOST:PORT", help="TCP; port 0: the kernel chooses")
    add = serve.add_argument
    add("--allow-remote", action="store_true", help="let --listen take other than loopback")
    add("--export-name", action="append", default=[], metavar="NAME[=SIZE]", help="repeatable")
    add("--control", metavar="PATH", help="QMP on this Unix socket; makes power cuts possible")
    add("--read-only", action="store_true", help="refuse all changes")
    add("--tls-certs", metavar="DIR", help="offer TLS with the x509 files of this directory")
    add("--tls-required", action="store_true", help="refuse clients without TLS")
    add("--tls-verify-peer", action="store_true", help="ask clients for a certificate of the CA")
    add("--min-block", metavar="N", type=_size, default=1, help="smallest request (1)")
    add("--preferred-block", metavar="N", type=_size, help="best request (4k, or --min-block)")
    add("--max-block", metavar="N", type=_size, default=32 << 20, help="largest request (32M)")
    add("--write-cache", choices=("volatile", "through"), default="volatile")
    add("--undo-limit", metavar="SIZE", type=_size, help="pending bytes that power cuts see (64M)")
    add("--max-connections", metavar="N", type=int, help="close what comes beyond")
    add("--layer", action="append", default=[], metavar="MODULE:CLASS[:KEY=VALUE...]")
    add("--rules", metavar="FILE", help="faults, in the rule language (docs/rules.md)")
    add("--seed", metavar="N", type=int, default=0, help="what the chances of rules come from")
    add("--pid-file", metavar="PATH", help="written when listening, removed at the end")
    add("--ready-fd", metavar="FD", type=int, help="write 'ready ADDRESS' there instead of stdout")
    features = serve.add_argument_group("what not to offer")
    for name in FEATURES:
        features.add_argument(
            f"--no-{name}", dest="without", action="append_const", const=name, default=[]
        )


def _add_proxy(commands: argparse._SubParsersAction[_Parser]) -> None:
    proxy = commands.add_parser("proxy", help="faults in front of any NBD server")
    add = proxy.add_argument
    add("--to", metavar="URI", required=True, help="the NBD server behind")
    add("--socket", metavar="PATH", required=True, help="a Unix socket, mode 0600")
    add("--control", metavar="PATH", help="QMP on this Unix socket: rules while it runs")
    add("--layer", action="append", default=[], metavar="MODULE:CLASS[:KEY=VALUE...]")
    add("--rules", metavar="FILE", help="faults, in the rule language (docs/rules.md)")
    add("--seed", metavar="N", type=int, default=0, help="what the chances of rules come from")
    add("--ready-fd", metavar="FD", type=int, help="write 'ready ADDRESS' there instead of stdout")


def _add_pool_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    def add(name: str, about: str, *positional: str) -> _Parser:
        command = commands.add_parser(name, help=about)
        command.add_argument("--pool", metavar="DIR", required=True, help="directory of volumes")
        for each in positional:
            command.add_argument(each, type=_size if each == "size" else str)
        return command

    add("create", "make a volume", "name", "size")
    listing = add("list", "list volumes")
    info = add("info", "describe a volume", "name")
    for command in (listing, info):
        command.add_argument("--json", action="store_true", help="machine-readable")
    add("resize", "set the size of a volume", "name", "size")
    snapshot = add("snapshot", "make, list, delete or clone snapshots", "name")
    snapshot.add_argument("snapshot", nargs="?", help="name of the new snapshot")
    which = snapshot.add_mutually_exclusive_group()
    which.add_argument("--delete", action="store_true", help="delete it instead")
    which.add_argument("--clone", metavar="NEW", help="make a writable volume of it instead")
    add("rm", "remove a volume with its snapshots, or one snapshot (NAME@SNAPSHOT)", "name")


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or with ``command`` of what that one needs."""
    top = _Parser(prog="reference_backend", description=DESCRIPTION)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    if command != "pool":
        _add_serve(commands)
    if command != "serve":
        _add_proxy(commands)
        _add_pool_commands(commands)
    return top
