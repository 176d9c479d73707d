"""`./check verify-certificate FILE`: whether a certificate is as its signer wrote it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qbdcheck.argument_parser import Parser
from qbdcheck.argument_types import path_of
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.saved.certificate import headline, not_judged, verified


def main(arguments: Sequence[str]) -> int:
    """Print who signed what; return 1 if the file was changed, or another key signed it.

    :raise UsageError: an argument is wrong, or the file cannot be read.
    """
    parser = Parser(
        prog="./check verify-certificate",
        description="check the signature of a certificate; exit code 1 if a byte was changed",
        epilog="example:\n  ./check verify-certificate certificate-mine-2026-11-28.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", type=path_of, metavar="FILE")
    parser.add_argument("--signer", metavar="KEY", default="",
                        help="the public key that must have signed it, in hexadecimal")  # fmt: skip
    given = parser.parse_args(arguments)
    path: Path = given.file
    try:
        stated, public_key = verified(read(path))
    except ValueError as error:
        print(f"{path}: refused: {error}", file=sys.stderr)
        return ExitCode.RED
    if given.signer and given.signer.lower() != public_key:
        print(
            f"{path}: refused: signed by {public_key}, not by --signer {given.signer}",
            file=sys.stderr,
        )
        return ExitCode.RED
    print(f"{path}: genuine")
    print(f"target {stated['target']}, {headline(stated)} on {stated['date']}")
    if missing := not_judged(stated):
        print(missing)
    print(f"signed by {public_key}")
    if not given.signer:
        print("compare this key with the one that the signer has published, or use --signer KEY")
    return ExitCode.GREEN


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    :raise UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
