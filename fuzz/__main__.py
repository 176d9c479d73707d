"""Run random sessions of the protocol and check them: ``python -m fuzz server --inputs 1000000``.

Exit status: 0 all sessions are right, 1 a session failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import multiprocessing
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import psutil

from fuzz import client, inputs, server
from qbdcheck.programs.process import run as run_program

SIDES: dict[str, Callable[[bytes], str]] = {"server": server.run, "client": client.run}
HANG_S = 10.0
"""Time limit of one session in seconds; a normal one takes 0.2 ms."""
LEAK_BYTES = 64 << 20
"""Most growth of a process between a tenth of its sessions and the last."""
KEPT_MAX = 400
"""Most inputs of a corpus; the shortest ones are kept."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser("python -m fuzz", description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--inputs", type=int, default=100_000, help="number of sessions")
    parser.add_argument("--from", dest="first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", "-j", type=int, default=1)
    parser.add_argument("--input", help="run only the session of this input, in hexadecimal digits")
    by_coverage = "search inputs that reach new code with atheris, and update the corpus"
    parser.add_argument("--coverage", type=int, metavar="SECONDS", help=by_coverage)
    given = parser.parse_args(arguments)
    if given.input is not None:
        return _one(given.side, given.input, parser)
    if given.coverage is not None:
        return _by_coverage(given.side, given.coverage)
    if given.inputs < 1 or given.jobs < 1 or given.first < 0:
        parser.error("--inputs and --jobs must be 1 or more, --from 0 or more")
    return _many(given.side, given.seed, given.first, given.inputs, given.jobs)


def _one(side: str, digits: str, parser: argparse.ArgumentParser) -> int:
    try:
        data = bytes.fromhex(digits)
    except ValueError as error:
        parser.error(f"--input: {error}")
    end, failure = check(side, data)
    print(failure or f"right: {end}")
    return 1 if failure else 0


def check(side: str, data: bytes) -> tuple[str, str]:
    """Run one session; return how far it got, and its failure or an empty text."""

    def hangs(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"a session takes more than {HANG_S:g} s")

    signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        return SIDES[side](data), ""
    except Exception:  # any exception is a finding
        return "", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _many(side: str, seed: int, first: int, count: int, jobs: int) -> int:
    began = time.monotonic()
    bounds = [first + count * job // jobs for job in range(jobs + 1)]
    work = [(side, seed, *pair) for pair in itertools.pairwise(bounds)]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        parts = pool.starmap(sessions, work)
    ends = sum((part[0] for part in parts), collections.Counter[str]())
    seconds = time.monotonic() - began
    found = ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
    done = ends.total()
    print(
        f"{side}: {done} sessions in {seconds:.1f} s ({done / seconds:.0f}/s), seed {seed}: {found}"
    )
    failures = [part[1] for part in parts if part[1]]
    if failures:
        print(failures[0])
    return 1 if failures else 0


def sessions(side: str, seed: int, first: int, end: int) -> tuple[collections.Counter[str], str]:
    """Run the sessions ``first`` to ``end``; return counts of their ends, and the first failure."""
    ends: collections.Counter[str] = collections.Counter()
    kept = inputs.corpus(side)
    process, warm = psutil.Process(), first + (end - first) // 10
    grown_from = 0
    for number in range(first, end):
        data = inputs.make(seed, number, kept)
        how, failure = check(side, data)
        if failure:
            again = f"repeat it: python -m fuzz {side} --input {data.hex()}"
            return ends, f"session {number} of seed {seed} failed\n{failure}{again}"
        ends[how] += 1
        if number == warm:
            grown_from = process.memory_info().rss
    grown = process.memory_info().rss - grown_from
    if grown > LEAK_BYTES:
        return ends, f"a memory leak: {grown >> 20} MiB more than after a tenth of the sessions"
    return ends, ""


def _by_coverage(side: str, seconds: int) -> int:
    kept = inputs.corpus(side)
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        for number, data in enumerate(kept):
            (folder / f"kept{number}").write_bytes(data)
        argv = [sys.executable, "-m", "fuzz.coverage", side, str(folder), str(seconds)]
        done = run_program(argv, timeout_s=seconds + 120.0, check=False)
        if done.returncode:
            print(done.stdout + done.stderr)
            return 1
        found = [file.read_bytes() for file in folder.iterdir()]
    short = sorted((one for one in found if one), key=len)[:KEPT_MAX]
    inputs.keep(side, short)
    print(f"{side}: the corpus had {len(kept)} inputs, now it has {len(short)} of {len(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
