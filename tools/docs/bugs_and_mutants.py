r"""Write docs/bugs-and-mutants.md from the mutants and from the record of kill matrices.

    ./check --mutants -j2 ID... --json quick.json             the group quick
    ./check --mutants -j2 ID... 1-499 --json rest.json        those that the quick group missed
    ./check --mutants -j2 --knobs rate=1000 219 435 468-470 --json rare.json
    .venv/bin/python -m tools.docs.bugs_and_mutants --quick quick.json --rest rest.json \\
        --rare rare.json > docs/bugs-and-mutants.md

The record is `bench/results/kill_matrix.json`. A file that is given replaces its entries there, so
only new mutants must be measured; without arguments the page is written from the record. If a bug
is in several parts of the record, the first one in which it was killed counts. A bug that is in none
is listed as not measured.

The section on first sight comes from `bench/results/first_sight.json`: for each mutant that was
written before a case looked for its kind, the cases that ran at that time, and the first kill. The
file is never measured again; entries are added with each further collection of bugs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mutants.catalogue import GROUPS, catalogue, is_control  # noqa: E402  # the path is set above

RECORD = ROOT / "bench/results/kill_matrix.json"
PARTS = ("quick", "rest", "rare")
KEPT = ("id", "control", "killed", "state", "case", "diagnosis", "named", "seconds", "requests")
"""What the page needs of a fate; of rare bugs also the knobs that have no meaning for them."""
HEAD = """# Bugs and mutants

Written by `tools/docs/bugs_and_mutants.py` from the mutants and from `./check --mutants`; do not edit. [bugs.md](bugs.md) explains each kind of bug and where it was real. [mutants.md](mutants.md) explains how to use mutants. Seconds count from the start of a run with `--best-first`, one of two at a time on two cores, to the first failure (FAIL; a broken case does not count). Each id is also a target: `./check -t mutant:ID`.
"""
ABOVE = "a bug of QEMU or of the management; no backend has it"
NOT_SEEABLE = {
    "close-error-lost": "NBD's disconnect has no reply that could report the error; lost data at a close is `close-drops-dirty`",
    "inflight-hang-on-disconnect": "a client that disconnected sees no hang; what it leaves at the server is `connection-slot-leak` and `zombie-write-after-reconnect`, and cases 380-396 guard against it in QEMU's client",
    "option-not-passed": ABOVE,
    "job-misses-write": ABOVE,
    "event-not-sent": ABOVE,
    "requests-not-counted": ABOVE,
    "limit-not-enforced": ABOVE,
    "unknown-name-accepted": ABOVE,
}


DIAGNOSIS_MAX = 110


def _cell(diagnosis: str) -> str:
    """Return the first line of a diagnosis as a table cell, without private paths."""
    text = re.sub(r"json:\{.*?\}\}+", "json:{...}", diagnosis.partition("\n")[0])
    text = text.replace("|", "/").replace("<", "&lt;")
    return text if len(text) <= DIAGNOSIS_MAX else text[: DIAGNOSIS_MAX - 3] + "..."


Fates = dict[str, dict[str, Any]]


def read_record(path: Path) -> dict[str, Fates]:
    """Return the fates of each part of the record by id; no fates if there is no file."""
    parts: dict[str, list[dict[str, Any]]] = {}
    if path.exists():
        parts = json.loads(path.read_text(encoding="utf-8"))
    return {part: {fate["id"]: fate for fate in parts.get(part, [])} for part in PARTS}


def added(record: Fates, fates: list[dict[str, Any]], known: Collection[str]) -> Fates:
    """Return a part of the record with new fates; mutants that are no longer known are left out."""
    kept = {
        fate["id"]: {key: fate[key] for key in (*KEPT, "knobs_left_out") if key in fate}
        | {"diagnosis": _cell(fate["diagnosis"])}
        for fate in fates
    }
    return {one: fate for one, fate in (record | kept).items() if one in known}


def write_record(path: Path, record: dict[str, Fates]) -> None:
    """Write the record with one fate on a line, so that a change shows what was measured."""
    parts = [
        f'"{part}": [\n' + ",\n".join(json.dumps(one) for one in fates.values()) + "\n]"
        for part, fates in record.items()
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _median(fates: list[dict[str, Any]], what: str) -> float:
    values = sorted(fate[what] for fate in fates)
    return float(values[len(values) // 2]) if values else 0.0


def _summary(fates: Fates, quick: Fates) -> str:
    known = catalogue()
    bugs = [fate for fate in fates.values() if not fate["control"]]
    killed = [fate for fate in bugs if fate["killed"]]
    by_quick = [one for one in quick.values() if one["killed"] and not one["control"]]
    controls = [fate for fate in fates.values() if fate["control"]]
    accused = [fate for fate in controls if fate["killed"]]
    newer = sum(one not in fates and not is_control(mutant) for one, mutant in known.items())
    judged = f"{len(accused)} of {len(controls)} controls are accused."
    return (
        f"**{len(killed)} of {len(bugs)} seeded bugs are killed**, {len(by_quick)} of them"
        f" ({100 * len(by_quick) // max(len(bugs), 1)} %) by the quick group; half of them within"
        f" {_median(killed, 'seconds'):.1f} s and {_median(killed, 'requests'):.0f} requests;"
        f" {sum(fate['named'] for fate in killed)} diagnoses name the damage."
        f" {judged if controls else 'Controls are not in this record.'}"
        + (f" The other {newer} bugs are not measured.\n" if newer else "\n")
    )


def _summary_rare(rare: Fates) -> str:
    """Return how many mutants are killed whose bug occurs once in a thousand occasions."""
    bugs = [fate for fate in rare.values() if not fate["control"]]
    chance = [fate for fate in bugs if not fate["knobs_left_out"]]
    fixed = [fate["id"] for fate in bugs if fate["knobs_left_out"]]
    killed = [fate for fate in chance if fate["killed"]]
    alive = [f"`{fate['id']}`" for fate in chance if not fate["killed"]]
    lines = [
        (
            f"**{len(killed)} of {len(chance)} bugs ({100 * len(killed) // max(len(chance), 1)} %)"
            " are killed at one in a thousand occasions** (`rate=1000`) by the cases 219, 435 and"
            f" 468 to 470 of the group slow; {sum(fate['named'] for fate in killed)} diagnoses name the"
            f" damage. Alive: {', '.join(alive) or 'none'}."
        )
    ]
    has_chance = [one for one, mutant in catalogue().items() if mutant.takes]
    unmeasured = [f"`{one}`" for one in has_chance
                  if one not in rare and not is_control(catalogue()[one])]  # fmt: skip
    if unmeasured:
        lines.append(f"Not measured at this rate: {', '.join(unmeasured)}.")
    if fixed:
        lines.append(f"A rate has no meaning for {', '.join(f'`{one}`' for one in fixed)}.")
    return " ".join(lines) + "\n"


COLLECTIONS = {
    "": "The first collection, of fixes in recent years",
    "unread": "A collection whose author had read no case",
    "variants": "Variants of that collection, after cases for it existed, on these cases alone",
    "second": "A further collection, after all of these cases existed",
    "third": "A third collection, whose author had read no case, against the whole group quick",
    "covering": "The third collection, on the covering arrays of 1210-1217 alone, whose author had"
    " not seen it (41 of 50 together with the group quick of that time)",
    "fourth": "A fourth collection, written after all of these cases, by an author who had read no"
    " case, against the whole group quick on a loaded machine",
    "fifth": "A fifth collection, of fixes and issues of other servers and drivers, all of kinds that no"
    " case knew; many need two requests at the same time or two restarts. Each ran against those"
    " cases, of all of 001-499 and 1000-1499, that could see it",
    "sixth A": "A sixth collection, of fixes and issues of other servers and drivers, seeded before a"
    " case was read and divided by chance (seed 20261130). Half A, from which the generators of 1213,"
    " 1214 and 1476 learnt; on a starved machine, against the group quick or a part of 001-499 and"
    " 1000-1499 that was chosen by name",
    "sixth B": "Half B of it, held out. After the generators had learnt from half A alone, 1213, 1214,"
    " 1476 and 1477 killed three of its six survivors, `stripe-fetched-twice` in 1476 with two seeds of"
    " six: 7 of 10",
    "seventh": "A seventh collection, of fixes and issues of other servers and drivers, by an author"
    " who had read no case, against the whole group quick",
}
"""The values of ``collection`` in the file, each with what the page says of it."""


def _first_sight() -> str:
    """Return what the cases that existed before a mutant made of it, for each collection."""
    text = (ROOT / "bench/results/first_sight.json").read_text(encoding="utf-8")
    seen = json.loads(text)["mutants"]
    about_all = (
        "## First sight\n\nThe kinds of the last chapters of bugs.md were written as mutants before a"
        " case looked for them. Each ran once, against those cases of the group quick that could see"
        " it, as they were before (`bench/results/first_sight.json` has the list), until its first"
        " kill. The cases that were written because of the survivors do not count here. The table of"
        " each group below has the present state.\n"
    )
    lines = [about_all]
    for collection, about in COLLECTIONS.items():
        fates = [fate for fate in seen if fate.get("collection", "") == collection]
        lines += [f"{about}: {line}\n" for line in _share(fates)]
    return "\n".join(lines)


def _share(seen: list[dict[str, Any]]) -> list[str]:
    """Return the share of a collection that was killed at first sight, in words; [] for none."""
    killed = [fate for fate in seen if fate["state"] == "killed"]
    named = sum(fate["named"] for fate in killed)
    alive = [f"`{fate['id']}`" for fate in seen if fate["state"] == "alive"]
    waiting = [f"`{fate['id']}`" for fate in seen if fate["state"] == "not measured"]
    count = len(seen) - len(waiting)
    if not count:
        return []
    share = 100 * len(killed) // count
    line = (
        f"**{len(killed)} of {count} were killed at first sight ({share} %)**;"
        f" {named} diagnoses named the damage. Alive: {', '.join(alive) or 'none'}."
    )
    if waiting:
        line += f" Not measured before cases existed: {', '.join(waiting)}."
    return [line]


def _row(one: str, fates: Fates) -> str:
    mutant = catalogue()[one]
    fate = fates.get(one)
    case = time = requests = message = ""
    if fate is None:
        case = "not measured"
    elif fate["killed"]:
        case, message = fate["case"], fate["diagnosis"]
        time, requests = f"{fate['seconds']:.1f}", str(fate["requests"])
    else:
        alive = "none, as it must be" if is_control(mutant) else "**alive**"
        case = alive if fate["state"] == "alive" else fate["state"]
    cells = (f"`{one}`", mutant.breaks, mutant.source, case, time, requests, message)
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Add what is given to the record, and print the page."""
    parser = argparse.ArgumentParser()
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, action="append", default=[])
    arguments = vars(parser.parse_args())
    record = read_record(RECORD)
    for part in PARTS:
        for file in arguments[part]:
            new = json.loads(file.read_text(encoding="utf-8"))
            record[part] = added(record[part], new, catalogue())
    if not record["quick"]:
        parser.error("the record is empty: measure all mutants first, and give --quick FILE")
    write_record(RECORD, record)
    quick, rare = record["quick"], record["rare"]
    fates = dict(quick)
    others = record["rest"]
    fates |= {one: fate for one, fate in others.items() if not fates.get(one, {}).get("killed")}
    known = catalogue()
    print(HEAD)
    print(_summary(fates, quick))
    if rare:
        print(_summary_rare(rare))
    print(_first_sight())
    for group in GROUPS:
        print(f"## {group}\n\n| id | what it does | after | killed by | s | requests | diagnosis |")
        print("|---|---|---|---|---|---|---|")
        for one, mutant in known.items():
            if mutant.__module__ == f"mutants.{group}":
                print(_row(one, fates))
        print()
    listed = re.findall(r"^\| `([a-z0-9-]+)`", (ROOT / "docs/bugs.md").read_text(), re.MULTILINE)
    print("## Bugs of bugs.md without a mutant\n\n| id | why |\n|---|---|")
    for one in listed:
        if one not in known:
            print(f"| `{one}` | {NOT_SEEABLE.get(one, 'no mutant yet')} |")


if __name__ == "__main__":
    main()
