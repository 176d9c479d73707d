r"""Run cases against the qbd driver's mutants, and print which case kills each of them.

    make -C contrib/qbd-driver mutants
    .venv/bin/python tools/driver_mutants.py                    the cases that each mutant names
    .venv/bin/python tools/driver_mutants.py fua-dropped 1-99   one mutant, other cases

A mutant is contrib/qbd-driver/mutants/NAME.patch: its first lines say what it breaks, the expected
damage, and cases that see it. First the driver without a bug must pass the same cases. Exit status:
0 if all mutants are killed, 1 if one is alive or the driver itself fails, 2 if nothing was built.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from qbdcheck.mutation.expectation import findings_in  # noqa: E402  # the path is set above
from qbdcheck.report.cause import cause_of  # noqa: E402

DRIVER = ROOT / "contrib/qbd-driver"
BUILD = DRIVER / "build"
_DIAGNOSIS_MAX = 100


@dataclass(frozen=True)
class DriverMutant:
    """A patch of the driver.

    :ivar breaks: what it breaks, one sentence; ``damage``: what a user sees; ``cases``: cases that
        see it.
    """

    name: str
    breaks: str
    damage: str
    cases: tuple[str, ...]

    @classmethod
    def read(cls, patch: Path) -> DriverMutant:
        """Read the head of a patch.

        :raise ValueError: a line is missing.
        """
        head: dict[str, str] = {}
        for line in patch.read_text(encoding="utf-8").partition("\n\n")[0].splitlines():
            key, colon, value = line.partition(": ")
            head[key] = value if colon else ""
        missing = {"Breaks", "Damage", "Cases"} - head.keys()
        if missing:
            raise ValueError(f"{patch.name}: no line {', '.join(sorted(missing))}")
        return cls(patch.stem, head["Breaks"], head["Damage"], tuple(head["Cases"].split()))


@dataclass(frozen=True)
class Fate:
    """The result of a run: the first case that failed, or "", with its diagnosis."""

    case: str
    diagnosis: str
    ran: int


def mutants(folder: Path = DRIVER / "mutants") -> list[DriverMutant]:
    """Return all mutants, by name."""
    return [DriverMutant.read(patch) for patch in sorted(folder.glob("*.patch"))]


def run(name: str, selection: tuple[str, ...] | list[str]) -> Fate:
    """Run cases with the driver that has a mutant, or with the driver itself if ``name`` is "".

    :raise SystemExit: the run could not start.
    """
    with tempfile.TemporaryDirectory(prefix="qd") as directory:
        events = Path(directory, "events")
        argv = [sys.executable, "-m", "qbdcheck", "-j1", "-t", "qbd", *selection]
        environment = {**os.environ, "QBD_MUTANT": name, "XDG_CACHE_HOME": directory}
        done = subprocess.run(
            [*argv, "--events", str(events)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = events.read_text(encoding="utf-8").splitlines() if events.exists() else []
    verdicts = [one for one in map(json.loads, lines) if one.get("verdict")]
    bad = [one for one in verdicts if _word(one) in ("fail", "broken")]
    if bad:
        return Fate(str(bad[0]["case_id"]), _diagnosis(bad[0]), len(verdicts))
    if done.returncode:  # with some bugs not even the probe of the target succeeds
        return Fate("probe", (done.stderr or done.stdout).strip().splitlines()[-1], 0)
    return Fate("", "", sum(_word(one) == "pass" for one in verdicts))


def _word(event: dict[str, Any]) -> str:
    return str(event["verdict"]).lower().replace("_", " ")


def _diagnosis(event: dict[str, Any]) -> str:
    found = findings_in(event)
    return cause_of(event["message"], event.get("details", ""), found).partition("\n")[0]


def _cell(text: str) -> str:
    short = text if len(text) <= _DIAGNOSIS_MAX else text[: _DIAGNOSIS_MAX - 3] + "..."
    return short.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Print the table of the given mutants, or of all."""
    known = {mutant.name: mutant for mutant in mutants()}
    chosen = [known[name] for name in arguments if name in known] or list(known.values())
    selection = [one for one in arguments if one not in known]
    unbuilt = [one.name for one in chosen if not (BUILD / f"mutants/{one.name}.so").exists()]
    if unbuilt:
        sys.stderr.write(f"not built: {' '.join(unbuilt)}; run: make -C {DRIVER} mutants\n")
        return 2
    cases = sorted({case for one in chosen for case in selection or one.cases})
    healthy = run("", cases)
    print(f"The driver itself: {healthy.case or 'no case'} failed, {healthy.ran} cases passed\n")
    print("| mutant | what it breaks | killed by | diagnosis |\n|---|---|---|---|", flush=True)
    alive = 0
    for one in chosen:
        fate = run(one.name, selection or list(one.cases))
        alive += not fate.case
        where = fate.case.partition("_")[0] or "**alive**"
        print(f"| `{one.name}` | {one.breaks} | {where} | {_cell(fate.diagnosis)} |", flush=True)
    print(f"\nKilled {len(chosen) - alive} of {len(chosen)}")
    return 1 if alive or healthy.case else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
