"""The types of values on the command line. argparse reports what they raise, in one line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from qbdcheck.errors import UsageError

LOCAL_WORKERS = re.compile(r"local:([1-9]\d{0,2})")
"""The value of ``--cluster`` for workers on this machine."""
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

OBSERVED = ("iostat", "blktrace", "blockstats", "backend", "perf")
"""Kinds of --observe; qbdcheck.guest.observers has one method for each."""


def number(text: str, least: int) -> int:
    """Return a whole number that is at least `least`; argparse names the flag of another one."""
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {least}")
    return int(text)


def seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def duration(text: str) -> float:
    """Return the seconds of ``90s``, ``30m``, ``24h`` or ``2d``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 30m, 24h, 2d")
    return float(found[1]) * _UNITS_S[found[2]]


LANES_MAX = 1000
"""Lanes are processes; more of them than this are a slip of the finger."""


def lanes(text: str) -> int:
    """Return the number of lanes of -j."""
    value = number(text, 1)
    if value > LANES_MAX:
        raise argparse.ArgumentTypeError(f"{text} is too large; at most {LANES_MAX}")
    return value


def word(text: str) -> str:
    """Return a name, or a list with commas; argparse reports one without any word."""
    if not text.replace(",", "").strip():
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return text


def file_of(text: str) -> Path:
    """Return the path of a file that is there."""
    path = path_of(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return path


def path_of(text: str) -> Path:
    """Return the path that an argument names; argparse reports an empty one."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def cluster_address(text: str) -> str:
    """Return the address of a Dask scheduler, or ``local:N`` with 1 <= N <= 999."""
    if LOCAL_WORKERS.fullmatch(text) or (
        not text.startswith("local:") and re.fullmatch(r"(\w+://)?[^\s/]+:\d+", text)
    ):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither the address of a Dask scheduler (tcp://host:8786) nor local:N"
        " (N workers on this machine, 1 to 999)"
    )


def check_cluster_flags(given: argparse.Namespace, subcommand: str, command: Sequence[str]) -> None:
    """Refuse what works on this machine only, if ``--cluster`` was given.

    :raise UsageError: it names the flag.
    """
    if not given.cluster:
        return
    what = subcommand or ("-- COMMAND" if command else "")
    if what and what != "mutants":
        raise UsageError(f"--cluster runs cases and --mutants; {what} works on this machine only")
    if given.lanes is not None:
        raise UsageError("-j counts cases on this machine; with --cluster each worker has its own")
    for flag, value in (("--keep", given.keep), ("-gdb", given.gdb), ("-n", given.dry_run),
                        ("--update-golden", given.update_golden)):  # fmt: skip
        if value:
            raise UsageError(f"{flag} works on this machine only; leave it or --cluster out")


def shard(text: str) -> tuple[int, int]:
    """Return (I, N) of ``I/N`` with 1 <= I <= N."""
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with 1 <= I <= N, such as 2/3")
    return int(part), int(parts)


def observed_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of --observe: a list with commas, or ``all``."""
    kinds = OBSERVED if text == "all" else tuple(dict.fromkeys(text.split(",")))
    for kind in kinds:
        if kind not in OBSERVED:
            known = ", ".join(OBSERVED)
            raise argparse.ArgumentTypeError(f"unknown kind {kind!r}; known: {known}, all")
    return kinds


def lanes_by_default(given: argparse.Namespace) -> int:
    """Return one lane for each core that this process may use.

    Under a debugger a case has the machine and the terminal for itself. The kill matrix measures
    the seconds until a kill, so that they do not depend on the machine's cores.
    """
    is_alone = given.gdb or given.valgrind or given.mutants
    return 1 if is_alone else len(os.sched_getaffinity(0))


def ltp_tree(given: Path | None) -> Path | None:
    """Return the LTP of --ltp or QBDCHECK_LTP; None without both.

    :raise UsageError: it does not exist.
    """
    path = given or Path(os.environ.get("QBDCHECK_LTP", "")).expanduser()
    if path == Path():
        return None
    if not path.exists():
        raise UsageError(f"--ltp {path}: no such file or directory")
    return path.absolute()


def comma_list(text: str) -> tuple[str, ...]:
    """Return the words of ``A,B``."""
    return tuple(word for word in text.split(",") if word)
