"""Writes docs/bugs-and-mutants.md from the mutants and from kill matrices.

    ./check --mutants -j2 --json quick.json
    ./check --mutants -j2 1-499 --json all.json
    .venv/bin/python docs/bugs_and_mutants.py quick.json [all.json] > docs/bugs-and-mutants.md

Of a bug that is in several matrices the first one in which it was killed counts.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mutants.catalogue import GROUPS, catalogue, is_control  # noqa: E402  # the path is set above

HEAD = """# Bugs and mutants

Written by `docs/bugs_and_mutants.py` from the mutants themselves and from `./check --mutants`; do not edit. What each kind of bug is, and where it was real: [bugs.md](bugs.md). How to use mutants: [mutants.md](mutants.md). Seconds are from the start of a run of all cases in their order, on two cores, to the first failure; an id is also a target, `./check -t mutant:ID`.
"""
NOT_SEEABLE = {
    "close-error-lost": "NBD's disconnect has no answer",
    "inflight-hang-on-disconnect": "a fault of clients; cases 380-396 guard against it in QEMU's",
}


DIAGNOSIS_MAX = 110


def _cell(diagnosis: str) -> str:
    """The first line of a diagnosis as a cell of a table, without names of private directories."""
    text = re.sub(r"json:\{.*?\}\}+", "json:{...}", diagnosis.partition("\n")[0])
    text = text.replace("|", "/").replace("<", "&lt;")
    return text if len(text) <= DIAGNOSIS_MAX else text[: DIAGNOSIS_MAX - 3] + "..."


def main() -> None:
    """Print the page."""
    fates: dict[str, dict[str, Any]] = {}
    for name in sys.argv[1:]:
        for fate in json.loads(Path(name).read_text(encoding="utf-8")):
            if not fates.get(fate["id"], {}).get("killed"):
                fates[fate["id"]] = fate
    known = catalogue()
    print(HEAD)
    bugs = [fates[one] for one in known if one in fates and not is_control(known[one])]
    killed = [fate for fate in bugs if fate["killed"]]
    seconds = sorted(fate["seconds"] for fate in killed)
    accused = [one for one in known if is_control(known[one]) and fates.get(one, {}).get("killed")]
    print(
        f"**{len(killed)} of {len(bugs)} seeded bugs are killed**, half of them within"
        f" {seconds[len(seconds) // 2]:.1f} s; {sum(fate['named'] for fate in killed)} diagnoses name"
        f" the damage; {len(accused)} of"
        f" {sum(map(is_control, known.values()))} controls are accused.\n"
    )
    for group in GROUPS:
        print(f"## {group}\n\n| id | what it does | after | killed by | s | diagnosis |")
        print("|---|---|---|---|---|---|")
        for one, mutant in known.items():
            if mutant.__module__ == f"mutants.{group}":
                fate = fates.get(one, {})
                case = fate.get("case", "") if fate.get("killed") else "**alive**"
                case = "none, as it must be" if is_control(mutant) and not fate.get("killed") else case
                time = f"{fate['seconds']:.1f}" if fate.get("killed") else ""
                told = _cell(fate.get("diagnosis", "")) if fate.get("killed") else ""
                row = f"| `{one}` | {mutant.breaks} | {mutant.source} | {case} | {time} | {told} |"
                print(row)
        print()
    listed = re.findall(r"^\| `([a-z0-9-]+)`", (ROOT / "docs/bugs.md").read_text(), re.MULTILINE)
    print("## Bugs of bugs.md without a mutant\n\n| id | why |\n|---|---|")
    for one in listed:
        if one not in known:
            print(f"| `{one}` | {NOT_SEEABLE.get(one, 'no mutant yet')} |")


if __name__ == "__main__":
    main()
