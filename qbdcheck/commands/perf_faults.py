"""``./check perf faults``: latency while nodes and links are lost, or snapshots are taken.

A cluster is judged by its ``nodes:``; any other target by its snapshots and its restart. The
longest stall must stay within ``failover:`` of the profile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from qbdcheck.commands.perf_reports import measured_noise, write_text
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.machine_speed import StarvedError, must_not_be_starved
from qbdcheck.options import Options
from qbdcheck.perf import faults
from qbdcheck.perf.faults import Timeline
from qbdcheck.perf.rounds import NoisyError
from qbdcheck.report import perf_page
from qbdcheck.seed import Seed
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession


def main(options: Options, description: Description) -> ExitCode:
    """Measure each fault that the target can have.

    :return: RED if a stall is longer than the profile allows, or the machine is too busy.
    :raise UsageError: the target has no NBD server, or none of the faults.
    """
    if description.nbd is None:
        raise UsageError("perf faults needs a target with nbd: in its profile")
    limit_s = description.failover
    found, wrong = [], False
    try:
        measured_noise(options)
        print(f"{'fault':<28}{'requests':>9}{'p50 ms':>9}{'p99 ms':>9}{'longest stall':>15}")
        for one in _measured(options, description):
            found.append(one)
            wrong |= judge(one, limit_s)
    except (NoisyError, StarvedError) as error:
        print(f"BROKEN  the machine is too noisy: {error}")
        wrong = True
    if not found and not wrong:
        raise UsageError(
            "perf faults: the profile has neither nodes: nor volume.snapshot: nor kill:"
        )
    document = {
        "format": 1,
        "target": description.name,
        "failover_s": limit_s,
        "faults": [one.document() for one in found],
    }
    if options.reports.json_file is not None:
        write_text(options.reports.json_file, json.dumps(document, indent=1) + "\n")
    if options.reports.html_file is not None:
        write_text(options.reports.html_file, perf_page.faults(document))
    return ExitCode.RED if wrong else ExitCode.GREEN


def judge(one: Timeline, limit_s: float) -> bool:
    """Print the line of a fault; return whether its stall is too long.

    :raise StarvedError: it is, and the machine was starved.
    """
    latencies = one.histogram()
    p50, p99 = (latencies.percentile_ns(percent) / 1e6 for percent in (50, 99))
    stall_s = one.longest_stall_s
    print(
        f"{one.fault:<28}{len(one.requests):>9}{p50:>9.2f}{p99:>9.1f}{stall_s:>13.3f} s",
        flush=True,
    )
    if stall_s <= limit_s and not one.unanswered:
        return False
    must_not_be_starved(f"a stall of {stall_s:.1f} s in: {one.fault}")
    more = f", and {one.unanswered} requests had no answer" if one.unanswered else ""
    print(
        f"FAIL  {one.fault}: a request waited for {stall_s:.1f} s{more};"
        f" failover: {limit_s:g} s in the profile"
    )
    return True


def _measured(options: Options, description: Description) -> Iterator[Timeline]:
    seed, root = Seed(options.execution.seed), options.execution.scratch_root
    if description.nodes:
        for number, fault in enumerate((faults.node_killed, faults.link_lost, faults.resync)):
            place = root / f"faults{number}"
            place.mkdir(mode=0o700)
            yield fault(description, place, seed)
        return
    known = capabilities(description, options.target, root)
    for word, of_server in (
        ("snapshot", faults.snapshot_taken), ("kill", faults.server_restarted),
    ):  # fmt: skip
        if word not in known:
            continue
        place = root / f"faults-{word}"
        place.mkdir(mode=0o700)
        session = TargetSession(description, options.target, place, execution=options.execution)
        try:
            yield of_server(session, seed)
        finally:
            session.close()
