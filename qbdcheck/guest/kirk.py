"""LTP's own runner, kirk, run on the host with a guest as its system under test.

kirk is on PyPI (`pip install kirk`, GPL-2.0-or-later). It is not a dependency: runtest.py runs the
same files without it. Users who compare with LTP's own numbers may want kirk's own verdicts.
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
from qbdcheck.guest.runtest import PLACE, multipliers
from qbdcheck.programs.process import run
from qbdcheck.report.events import TestEnded

PLUGINS = Path(__file__).parent / "kirk_plugins"
# kirk 4.2.0 checks --com before it loads plugins, so --plugins is too late.
_MAIN = "import sys, libkirk.com, libkirk.main; libkirk.com.discover(sys.argv.pop(1)); "
_MAIN += "libkirk.main.run()"
_OUTCOMES = {"brok": "broken"}
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
    """Run groups of an LTP tree that is mounted in the guest; return how the tests ended.

    :param environment: variables for the tests; kirk passes on its own environment.
    :param work: a directory of the host for kirk's report and log.
    :param ended: called for each test after kirk has ended.
    :param test_s: seconds until kirk ends a test.
    :param suite_s: seconds until kirk ends a group.
    :param soak_s: seconds for which kirk repeats the groups (its --runtime).
    :raise UsageError: kirk is not installed.
    :raise ProgramError: kirk reported no test; has what it printed.
    """
    if importlib.util.find_spec("libkirk") is None:
        raise UsageError(
            f"--kirk: kirk is not installed for {sys.executable}; try: pip install kirk"
        )
    report = work / f"{guest.name}.kirk.json"
    with guest.lent_agent() as socket:
        arguments = [sys.executable, "-c", _MAIN, str(PLUGINS), "--tmp-dir", str(work)]
        arguments += ["-o", str(report)]
        arguments += ["--com", f"qbd-guest:socket={socket}", "--sut", "default:com=qbd-guest"]
        arguments += ["-f", *groups, "-t", str(round(test_s)), "-T", str(round(suite_s))]
        arguments += ["-I", str(round(soak_s))] if soak_s else []
        done = run(
            arguments,
            timeout_s=suite_s * len(groups) + soak_s + _MARGIN_S,
            check=False,
            env={
                **os.environ,
                **multipliers("", test_s),
                **environment,
                "TMPDIR": PLACE,
                "PYTHONPATH": str(ROOT),
            },
        )
    (work / f"{guest.name}.kirk.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    try:
        written = json.loads(report.read_text(encoding="utf-8"))
        results = [_ended(one) for one in written["results"]]
    except (OSError, ValueError, LookupError):
        output = (done.stdout + done.stderr).strip()
        raise ProgramError(
            f"kirk ended with {done.returncode}: {output[-800:]}", [], None
        ) from None
    for one in results:
        ended(one)
    return results


def _ended(one: Mapping[str, Any]) -> TestEnded:
    test = one["test"]
    status = _OUTCOMES.get(one["status"], one["status"])
    return TestEnded(one["test_fqn"], status, float(test["duration"]), str(test["log"]).strip())
