"""``./check perf growth``: what a request costs as volumes, snapshots, clients and pieces grow."""

from __future__ import annotations

import json
from collections.abc import Iterator

from qbdcheck.commands.perf_reports import measured_noise, write_text
from qbdcheck.errors import NotRun, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.options import Options
from qbdcheck.perf import baselines
from qbdcheck.perf.growth import AXES, HEAD, TOLERANCE, Growth
from qbdcheck.perf.rounds import NoisyError
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession


def main(options: Options, description: Description) -> ExitCode:
    """Measure all axes and print the table; judge it by the baseline if there is one.

    :raise UsageError: the target has no NBD server, or the baseline is wrong.
    """
    if description.nbd is None or description.start is None:
        raise UsageError("perf growth needs a target with start: and nbd: in its profile")
    file, facts = options.execution.baseline, baselines.machine()
    known = baselines.read(file) if file is not None else baselines.Baselines()
    before = baselines.growth_of(known, facts, description.name)
    if file is not None and before is None and not options.execution.update_baseline:
        raise UsageError(
            f"--baseline {file}: no growth of {description.name} on this machine;"
            " measure it by --update-baseline"
        )
    try:
        measured_noise(options)
    except NoisyError as error:
        print(f"BROKEN  the machine is too noisy: {error}")
        return ExitCode.RED
    print(HEAD)
    found = list(_measured(options, description))
    wrong = [
        one for one in found if before and one.exponent.low > before.get(one.name, 9.0) + TOLERANCE
    ]
    for one in wrong:
        print(
            f"FAIL  {one.name}: the cost grows by n^{one.exponent.value:.2f};"
            f" the baseline has n^{(before or {})[one.name]:.2f}"
        )
    if file is not None and options.execution.update_baseline and not wrong:
        exponents = {one.name: one.exponent.value for one in found}
        baselines.add_growth(known, facts, description.name, exponents)
        baselines.write(file, known)
    if options.reports.json_file is not None:
        rows = [
            {"name": one.name, "n": one.sizes, "us": one.costs, "order": one.order,
             "exponent": one.exponent._asdict()}
            for one in found
        ]  # fmt: skip
        document = {"format": 1, "target": description.name, "growth": rows}
        write_text(options.reports.json_file, json.dumps(document, indent=1) + "\n")
    return ExitCode.RED if wrong else ExitCode.GREEN


def _measured(options: Options, description: Description) -> Iterator[Growth]:
    """Yield the growth along each axis, and print its lines."""
    count = 0

    def session() -> TargetSession:
        nonlocal count
        count += 1
        place = options.execution.scratch_root / f"growth{count}"
        place.mkdir(mode=0o700)
        return TargetSession(description, options.target, place, execution=options.execution)

    for axis in AXES:
        try:
            for one in axis(session):
                print(one.line(), flush=True)
                yield one
        except NotRun as error:
            print(f"{axis.__name__:<20}not measured: {error}")
