"""LTP's own runner, kirk, run on the host with a guest of ours as its system under test.

kirk is on PyPI (`pip install kirk`, GPL-2.0-or-later) and no dependency: runtest.py runs the same
files without it. Who compares with LTP's own numbers may want its judgement of a test's output.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qbdcheck.errors import ProgramError, UsageError
from qbdcheck.files import ROOT
from qbdcheck.guest.guest import Guest
from qbdcheck.guest.runtest import PLACE
from qbdcheck.programs.process import run
from qbdcheck.report.events import TestEnded

PLUGINS = Path(__file__).parent / "kirk_plugins"
# kirk 4.2.0 checks --com before it looks for plugins, so that --plugins comes too late.
_MAIN = "import sys, libkirk.com, libkirk.main; libkirk.com.discover(sys.argv.pop(1)); "
_MAIN += "libkirk.main.run()"
_WORDS = {"brok": "broken"}
_MARGIN_S = 120.0


def run_kirk(
    guest: Guest,
    groups: Sequence[str],
    environment: Mapping[str, str],
    work: Path,
    ended: Callable[[TestEnded], None],
    *,
    test_s: float,
    suite_s: float,
    soak_s: float = 0.0,
) -> list[TestEnded]:
    """Run groups of an LTP tree that is mounted in the guest; return how its tests ended.

    :param environment: of the tests; kirk takes it from its own.
    :param work: a directory of the host for kirk's report and log.
    :param ended: called for each test, when kirk has ended.
    :param test_s: seconds until kirk ends a test; ``suite_s``: all tests of a group.
    :param soak_s: seconds for which kirk repeats them (its --runtime).
    :raise UsageError: kirk is not installed.
    :raise ProgramError: kirk told of no test; has what it said.
    """
    if importlib.util.find_spec("libkirk") is None:
        raise UsageError(f"--kirk: no kirk beside {sys.executable}; try: pip install kirk")
    report = work / f"{guest.name}.kirk.json"
    with guest.lent_agent() as socket:
        words = [sys.executable, "-c", _MAIN, str(PLUGINS), "--tmp-dir", str(work)]
        words += ["-o", str(report)]
        words += ["--com", f"qbd-guest:socket={socket}", "--sut", "default:com=qbd-guest"]
        words += ["-f", *groups, "-t", str(round(test_s)), "-T", str(round(suite_s))]
        words += ["-I", str(round(soak_s))] if soak_s else []
        done = run(
            words,
            timeout_s=suite_s * len(groups) + soak_s + _MARGIN_S,
            check=False,
            env={**os.environ, **environment, "TMPDIR": PLACE, "PYTHONPATH": str(ROOT)},
        )
    (work / f"{guest.name}.kirk.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    try:
        told = json.loads(report.read_text(encoding="utf-8"))
        results = [_ended(one) for one in told["results"]]
    except (OSError, ValueError, LookupError):
        said = (done.stdout + done.stderr).strip()
        raise ProgramError(f"kirk ended with {done.returncode}: {said[-800:]}", [], None) from None
    for one in results:
        ended(one)
    return results


def _ended(one: Mapping[str, Any]) -> TestEnded:
    test = one["test"]
    status = _WORDS.get(one["status"], one["status"])
    return TestEnded(one["test_fqn"], status, float(test["duration"]), str(test["log"]).strip())
