"""Events of runs, as the runner emits them, for the tests of all reports."""

from __future__ import annotations

from oracles.damage import Content, Damage, Difference, Operation, What, error
from oracles.finding import Finding
from qbdcheck.report.events import (
    CaseEnded,
    CaseStarted,
    Event,
    RunEnded,
    RunStarted,
    TestEnded,
)
from qbdcheck.verdict import Verdict

STARTED = RunStarted(
    run_id="20261123-021500-abcd",
    seed=7,
    target="reference",
    formats=("raw",),
    selected=5,
    lanes=2,
    started_s=1_700_000_000.0,
    environment={"qemu": "7.2.22", "scratch": "/tmp/qscratch (ext4)", "kernel": "6.1"},
)

DIFF = """\
golden output differs
--- golden/003_map_shows_holes.out
+++ 003_map_shows_holes.out.bad
@@ -1,3 +1,3 @@
 Offset Length
-0 0x10000 data
+0 0x20000 data
 end
"""


def ended(number: int, verdict: Verdict, **fields: object) -> CaseEnded:
    """Return the end of a case on raw after 1.25 s, with other fields as given."""
    base: dict[str, object] = {
        "case_id": f"{number:03d}_what_it_proves",
        "number": number,
        "sentence": f"This case checks that property {number} holds.",
        "groups": ("rw", "quick"),
        "image_format": "raw",
        "verdict": verdict,
        "elapsed_s": 1.25,
        "seed": 7,
        "path": f"suites/iotests/{number:03d}_what_it_proves.py",
    }
    return CaseEnded(**{**base, **fields})  # type: ignore[arg-type]


def started(number: int, lane: int = 0) -> CaseStarted:
    """Return the start of the same case."""
    return CaseStarted(f"{number:03d}_what_it_proves", number, "raw", lane, 1_700_000_000.0)


def mixed_run(home: str = "/home/nobody-here") -> list[Event]:
    """One case of each verdict, one passed in part, with texts that tempt every format."""
    return [
        STARTED,
        started(1),
        ended(1, Verdict.PASS, last_s=1.1),
        started(2, lane=1),
        ended(
            2,
            Verdict.NOT_RUN,
            elapsed_s=0.0,
            reasons=("target lacks resize", "program fio is missing # 1"),
        ),
        started(3),
        ended(
            3,
            Verdict.FAIL,
            message="golden output differs",
            details=DIFF + "odd <bytes> & ]]> \x00\x1b[31m\n...\n---\nat " + home + "/x\n",
            rerun=f"./check --seed 7 3 -t {home}/mine.yaml",
            artefacts=("/tmp/qscratch/003/full.log",),
        ),
        started(4, lane=1),
        ended(4, Verdict.BROKEN, message="CaseBroken: the fault never fired", details="none"),
        started(5),
        ended(5, Verdict.PASS, partly_not_run=("multi_conn part: target lacks multi_conn",)),
        RunEnded(6.5, {"pass": 2}, exit_code=1),
    ]


TESTS = (
    TestEnded("ext4 dio01", "pass", 1.25),
    TestEnded("ext4 dio02", "conf", 0.5, "no O_DIRECT in /home/nobody-here"),
)


def run_with_tests() -> list[Event]:
    """Return a run of a case that passed, with tests that it ran in a guest."""
    return [STARTED, started(1), ended(1, Verdict.PASS, tests=TESTS)]


FINDINGS = (
    Finding(
        Damage.STALE,
        4096,
        512,
        expected=Content(What.STAMP, 7, 70, 0, 1, 2),
        seen=Content(What.STAMP, 4, 40, 0, 1, 2),
        difference=Difference(4096 + 28, b"\x07", b"\x04"),
        last_writes=(Operation(70, 4096, 512, "write", 7),),
    ),
    Finding(
        Damage.ERROR, side="target", request="#3 flush", expected=error(0), seen=error(5),
        evidence=("found in /home/nobody-here/x",),
    ),
)  # fmt: skip


def run_with_findings() -> list[Event]:
    """Return a run of a case that failed with two findings."""
    failed = ended(
        1, Verdict.FAIL, message="volume disk is not what it must be:", findings=FINDINGS
    )
    return [STARTED, started(1), failed, RunEnded(6.5, {"fail": 1}, exit_code=1)]
