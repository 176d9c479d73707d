"""What the commands on saved runs have in common: their parsers and ``--results``."""

from __future__ import annotations

import argparse
from pathlib import Path

from qbdcheck.argument_parser import Parser
from qbdcheck.argument_types import path_of
from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND


def parser_of(command: str, description: str, example: str) -> argparse.ArgumentParser:
    """Return the parser of `./check COMMAND`, with ``--results``.

    :param example: the arguments of an example, which the help shows.
    """
    parser = Parser(
        prog=f"{COMMAND} {command}",
        description=description,
        epilog=f"example:\n  {COMMAND} {command} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--results",
        type=path_of,
        metavar="DIR",
        help="the directory of results; default: that of the user's cache",
    )
    return parser


def results_root(given: argparse.Namespace, default_root: Path) -> Path:
    """Return the directory of results: `default_root` without --results.

    :raise UsageError: the one that --results names does not exist.
    """
    if given.results is None:
        return default_root
    root: Path = given.results
    if not root.is_dir():
        raise UsageError(f"--results {root}: no such directory")
    return root
