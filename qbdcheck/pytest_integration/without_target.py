"""Find out whether a failed case accuses QEMU or the target: run it again without the target.

The cases of `qbdcheck.catalogue.qemu_bugs` fail with any backend if QEMU has a bug. Such a case is
run again on plain local files, with the same programs of QEMU and the same seed. If it fails there
with the same kinds of damage, the target is not to blame.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from qbdcheck.catalogue.qemu_bugs import WHERE, QemuBug
from qbdcheck.errors import ProgramError, SetupError
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.programs.process import run
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.reaper import MARK
from qbdcheck.runner.run import rerun_command
from qbdcheck.targets.description import Description
from qbdcheck.verdict import Verdict

NAME = "without-target"
"""Name of the profile of such a run; its cases are not run again."""
_PLAIN = ROOT / "targets" / "file.yaml"
_START_S = 5.0
"""Seconds that a run takes beside its case; with less time left there is none."""


@dataclass(frozen=True)
class WithoutTarget:
    """Judges a failure of a case that may be QEMU's fault.

    :ivar bugs: what QEMU may do wrong in this case. :ivar cache_dir: of the outer run.
    """

    bugs: Sequence[QemuBug]
    description: Description
    target: TargetOptions
    suites_dir: Path
    golden_dir: Path
    cache_dir: Path

    def __call__(self, unit: Unit, failed: Result, scratch: Path, left_s: float) -> Result:
        """Return the result of a case that failed on the target.

        :param scratch: directory of the case. :param left_s: seconds of work that the case has
            left.
        """
        if failed.setup_failed or failed.starved is not None or self.description.name == NAME:
            return failed
        if self.description.name == "file":
            return self._judge(failed, failed.message)
        try:
            again = self._run(unit, scratch, left_s - _START_S)
        except (OSError, ProgramError, SetupError, ValueError, LookupError):
            return failed
        if again["verdict"] == "pass":
            without = f"without {self.description.name}"
            note = f"The case passes on plain files with the same QEMU, {without}."
            return replace(failed, details=f"{failed.details}\n{note}")
        return self._judge(failed, again["message"]) if _is_the_same(failed, again) else failed

    def _judge(self, failed: Result, message: str) -> Result:
        """Return the result of a case that fails without the target, too."""
        blamed = f"QEMU {self.description.qemu_version()} is to blame, not the target"
        known = [bug for bug in self.bugs if bug.is_in(self.description.qemu_version())]
        bugs = "; or ".join(bug.sentence for bug in known or self.bugs)
        if known:
            same = "the case fails in the same way on plain files"
            return Result(Verdict.NOT_RUN, reasons=(f"{blamed}: {bugs} ({WHERE}); {same}",))
        like = f"older releases have a bug that this case finds: {bugs}"
        text = f"{blamed}: the case fails in the same way on plain files: {message}; {like}"
        return replace(failed, message=text, details=f"{text}\n\n{failed.details}", findings=())

    def _run(self, unit: Unit, scratch: Path, limit_s: float) -> Mapping[str, Any]:
        """Run the case on plain files; return its members in the report.

        :raise ProgramError: the run failed, or took too long. :raise ValueError: there is no
            report, or no time for a run.
        """
        if limit_s <= 0:
            raise ValueError("the case has used up its time")
        here = scratch / "plain"
        cache = here / "qbdcheck"
        cache.mkdir(parents=True)
        (cache / "guest").symlink_to(self.cache_dir / "guest")
        profile, report = here / f"{NAME}.yaml", here / "report.json"
        profile.write_text(yaml.safe_dump(self._profile()), encoding="utf-8")
        target = replace(self.target, name=str(profile))
        _, *flags = shlex.split(rerun_command(self.suites_dir, target, self.golden_dir, unit))
        argv = [sys.executable, "-m", "qbdcheck", "--no-config", *flags, "-j1"]
        argv += ["--json", str(report), "--results", str(here / "results")]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        # A cache of its own: the last run and the durations are those of the outer run.
        env = {"XDG_CACHE_HOME": str(here), "PYTHONPATH": paths, MARK: ""}
        run(argv, env=env, cwd=ROOT, timeout_s=limit_s, check=False)
        (case,) = json.loads(report.read_text(encoding="utf-8"))["cases"]
        found: Mapping[str, Any] = case
        return found

    def _profile(self) -> dict[str, Any]:
        """Return the profile of plain files with the target's programs of QEMU."""
        profile: dict[str, Any] = yaml.safe_load(_PLAIN.read_text(encoding="utf-8"))
        ours = self.description.program_paths.items()
        programs = {name: path for name, path in ours if name.startswith("qemu-")}
        return profile | {"name": NAME, "programs": {"qemu-img": "qemu-img"} | programs}


def _is_the_same(failed: Result, again: Mapping[str, Any]) -> bool:
    """Return whether the case has the same verdict on plain files, and shows all that it showed.

    A failure without damage, such as a wrong output, is not explained by damage, nor by a case
    that only broke there.
    """
    if again["verdict"] != failed.verdict.value or again["starved"]:
        return False
    seen = {finding.damage.value for finding in failed.findings}
    found = {finding["damage"] for finding in again["findings"]}
    return seen <= found and bool(seen) == bool(found)
