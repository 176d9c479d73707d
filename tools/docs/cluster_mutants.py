"""Write docs/cluster-mutants.md: each mutant of the cluster, and the schedule that finds it.

.venv/bin/python -m tools.docs.cluster_mutants [--check-controls SCHEDULES]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mutants.cluster.catalogue import ClusterMutant, catalogue  # noqa: E402  # the path is set above
from qbdcheck.kit.cluster.hunt import hunt, smallest  # noqa: E402
from qbdcheck.kit.cluster.schedule import FAULTS  # noqa: E402

PAGE = ROOT / "docs" / "cluster-mutants.md"
_HEAD = """# Mutants of the cluster

Written by `tools/docs/cluster_mutants.py`; do not edit. [cluster.md](cluster.md) explains the cluster and its simulation. Each bug is found by the simulated schedule of a seed, with faults of the kinds that let it show. Shrunk steps are those that the schedule needs to fail. A bug is *named* if a finding has a kind of damage that the mutant lists.

"""


def row(mutant: ClusterMutant) -> str:
    """Return the line of one bug."""
    if mutant.seed is None:
        return f"| `{mutant.name}` | {mutant.about} | | **not found** | | | |\n"
    found = hunt([mutant.seed], mutant.name, mutant.faults, mutant.at_events)
    if found.failing is None:
        raise ValueError(f"{mutant.name}: the schedule of seed {mutant.seed} does not find it")
    small = smallest(found, mutant.name)
    assert small.failing is not None
    faults = [step.what for step in small.failing.steps if step.what in FAULTS]
    kinds = ", ".join(sorted(found.words))
    named = "yes" if found.words & mutant.shows else "no"
    return (
        f"| `{mutant.name}` | {mutant.about} | {mutant.seed} | {kinds} | {named}"
        f" | {len(small.failing.steps)} of {len(found.failing.steps)} | {', '.join(faults)} |\n"
    )


def page(schedules: int) -> str:
    """Return the text of the page.

    :param schedules: how many each control has to pass.
    """
    bugs = [one for one in catalogue().values() if not one.is_control]
    killed = sum(one.seed is not None for one in bugs)
    lines = [
        _HEAD, f"**{killed} of {len(bugs)} seeded bugs are killed.** For the others no schedule is known.\n\n",
        "| mutant | what it does | seed | damage | named | shrunk steps | faults left |\n",
        "|---|---|---|---|---|---|---|\n", *map(row, bugs),
        f"\n## Controls\n\nEach is right, but unusual, and passes {schedules} schedules.\n\n",
        "| control | what it does | accused |\n|---|---|---|\n",
    ]  # fmt: skip
    for control in (one for one in catalogue().values() if one.is_control):
        accused = "no" if hunt(range(schedules), control.name).failing is None else "**yes**"
        about = control.about.removeprefix("A control: ")
        lines.append(f"| `{control.name}` | {about} | {accused} |\n")
    return "".join(lines)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check-controls", type=int, default=200, metavar="SCHEDULES")
    PAGE.write_text(page(parser.parse_args().check_controls), encoding="utf-8")


if __name__ == "__main__":
    main()
