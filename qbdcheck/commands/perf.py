"""``./check perf``: measure how fast a target is, compare it, and judge a regression."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count

from qbdcheck.commands.perf_reports import measured_noise, write_text
from qbdcheck.errors import NotRun, SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.guest.guest import GuestFailed
from qbdcheck.options import Options
from qbdcheck.perf import baselines, gate, host_load, noise, tables
from qbdcheck.perf.guest_load import GuestLoad
from qbdcheck.perf.histogram import Histogram
from qbdcheck.perf.results import Compared, Result
from qbdcheck.perf.rounds import Measure, Measured, NoisyError, make
from qbdcheck.perf.sample import Sample
from qbdcheck.perf.shapes import GUEST_PROFILES, PROFILES, Profile, Shape
from qbdcheck.programs.perf import PerfRecording, busiest, flame_difference, flame_graph
from qbdcheck.report import perf_page
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.mutant_target import profile
from qbdcheck.targets.session import TargetSession

_LIMIT_WITH_BASELINE = 0.05
_RECORDED_S = 2.0


def main(options: Options, description: Description) -> ExitCode:
    """Measure what the options ask for.

    :return: RED for a regression or a machine that is too noisy (BROKEN), else GREEN.
    :raise UsageError: an argument does not fit. :raise SetupError: something is missing.
    """
    if options.arguments:
        raise UsageError(f"perf: unexpected argument {options.arguments[0]}; -t names the target")
    Histogram()  # says first how to install what is missing
    if options.perf.what == "faults":
        from qbdcheck.commands import perf_faults

        return perf_faults.main(options, description)
    if options.perf.what == "growth":
        from qbdcheck.commands import perf_growth

        return perf_growth.main(options, description)
    return _matrix(options, description)


def _matrix(options: Options, description: Description) -> ExitCode:
    plan = _plan(options)
    before = _baseline(options)
    descriptions = {_key(options, options.target.name): description}
    if options.perf.versus:
        target = options.target
        other = profile(options.perf.versus, target.targets_dir, options.selection.suites_dir)
        descriptions[_key(options, options.perf.versus)] = other
        if len(descriptions) < 2:
            descriptions[f"{_key(options, options.perf.versus)} (again)"] = other
    try:
        found = measured_noise(options)
        measured = _measure(options, plan, descriptions)
    except NoisyError as error:
        print(f"BROKEN  the machine is too noisy: {error}")
        return ExitCode.RED
    except GuestFailed as error:
        print(f"BROKEN  {error}")
        return ExitCode.RED
    result = _judged(options, list(descriptions), found, measured, before)
    _report(options, result)
    if "perf" in options.guest.observe and not options.perf.in_guest:
        _flame_graphs(options, plan, descriptions)
    return ExitCode.RED if any(one.wrong for one in result.compared) else ExitCode.GREEN


def _key(options: Options, name: str) -> str:
    return f"{name} in a guest" if options.perf.in_guest else name


def _plan(options: Options) -> Profile:
    wanted = options.perf
    plan = (GUEST_PROFILES if wanted.in_guest else PROFILES)[wanted.profile]
    shapes = tuple(one for one in plan.shapes if wanted.only in one.label)
    if not shapes:
        example = plan.shapes[0].label
        raise UsageError(f"--only {wanted.only}: no such shape; shapes are like {example}")
    return replace(plan, shapes=shapes, rounds=wanted.rounds or plan.rounds)


def _baseline(options: Options) -> Measured | None:
    """Return the earlier samples of this target on this machine.

    :raise UsageError: the file is wrong, or has none and is not to be updated.
    """
    file = options.execution.baseline
    if file is None:
        return None
    facts, key = baselines.machine(), _key(options, options.target.name)
    found = baselines.find(baselines.read(file), facts, key)
    if found is None and not options.execution.update_baseline:
        where = baselines.fingerprint(facts)
        raise UsageError(
            f"--baseline {file}: nothing of {key} on this machine (fingerprint {where});"
            " measure it by --update-baseline"
        )
    return found


def _measure(options: Options, plan: Profile, descriptions: Mapping[str, Description]) -> Measured:
    with contextlib.ExitStack() as ends:
        targets = {}
        shapes = plan.shapes
        for number, (name, one) in enumerate(descriptions.items()):
            targets[name] = ends.enter_context(_target(options, one, plan, number))
            if not options.perf.in_guest:
                shapes = _possible(options, one, shapes)
        return make(targets, shapes, plan.rounds, options.perf.accepted_noise, _progress)


def _possible(
    options: Options, description: Description, shapes: tuple[Shape, ...]
) -> tuple[Shape, ...]:
    """Return the shapes without those of several connections, where a target allows one."""
    known = capabilities(description, options.target, options.execution.scratch_root)
    if "multi_conn" in known or description.nbd is None:
        return shapes
    kept = tuple(one for one in shapes if one.jobs == 1)
    if len(kept) < len(shapes):
        print(f"{description.name} allows one connection: {len(shapes) - len(kept)} shapes less")
    return kept


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _sessions(options: Options, description: Description, name: str) -> Callable[[], TargetSession]:
    """Return a function that opens a session on a target, each in a directory of its own."""
    scratch, numbers = options.execution.scratch_root / name, count()
    scratch.mkdir(mode=0o700)

    def session() -> TargetSession:
        place = scratch / str(next(numbers))
        place.mkdir(mode=0o700)
        return TargetSession(
            description,
            replace(options.target, name=description.name),
            place,
            execution=options.execution,
            guest_options=options.guest,
            case_id=name,
        )

    return session


@contextlib.contextmanager
def _target(
    options: Options, description: Description, plan: Profile, number: int
) -> Iterator[Measure]:
    """Yield the function that measures a shape on a target."""
    session = _sessions(options, description, f"perf{number}")

    def on_host(shape: Shape) -> Sample:
        with host_load.loaded(session(), plan.size) as ready:
            return host_load.measure(ready, shape, plan.seconds)

    if not options.perf.in_guest:
        yield on_host
        return
    options.execution.results_dir.mkdir(parents=True, exist_ok=True)
    opened = session()
    try:
        load = GuestLoad(opened, opened.scratch, plan.size, options.execution.results_dir)
    except NotRun as error:
        opened.close()
        raise SetupError(f"perf --guest: {error}") from None
    except BaseException:
        opened.close()
        raise
    try:
        yield lambda shape: load.measure(shape, plan.seconds)
    finally:
        load.close(print)


def _judged(
    options: Options,
    names: list[str],
    found: noise.Noise,
    measured: Measured,
    before: Measured | None,
) -> Result:
    target, limit = names[0], options.perf.max_regression
    compared = []
    if before is not None:
        rows = gate.compare(measured, target, before, target, paired=False)
        accepted = _LIMIT_WITH_BASELINE if limit is None else limit
        compared.append(Compared("the baseline", rows, accepted, found.worst))
    if len(names) > 1:
        rows = gate.compare(measured, target, measured, names[1], paired=True)
        compared.append(Compared(names[1], rows, limit, found.worst))
    return Result(target, found, baselines.machine(), measured, compared)


def _report(options: Options, result: Result) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    for name in result.measured.samples:
        print("\n".join(tables.figures(result.measured, name)))
    print(tables.UNITS)
    if result.measured.repeated:
        print(f"{result.measured.repeated} samples were taken again because of noise")
    for one in result.compared:
        print("\n".join(tables.comparison(one.rows, result.target, one.other)))
        if one.limit is None:
            continue
        for row in one.wrong:
            slower = row.cost.value - 1
            print(
                f"FAIL  {row.label}: {row.metric.name}: {slower:.1%} worse than {one.other},"
                f" at least {row.cost.low - 1:.1%}; {one.limit:.0%} is accepted"
            )
        if not one.wrong:
            print(f"no regression of more than {one.limit:.0%} against {one.other} is shown")
    _update_baseline(options, result)
    if options.reports.json_file is not None:
        write_text(options.reports.json_file, result.to_json())
    if options.reports.html_file is not None:
        write_text(options.reports.html_file, perf_page.matrix(result.document()))


def _flame_graphs(options: Options, plan: Profile, descriptions: Mapping[str, Description]) -> None:
    """Record the server of each target under the first shape, and write flame graphs."""
    directory, shape = options.execution.results_dir, plan.shapes[0]
    directory.mkdir(parents=True, exist_ok=True)
    recorded = []
    for number, (name, description) in enumerate(descriptions.items()):
        session = _sessions(options, description, f"flames{number}")()
        with host_load.loaded(session, plan.size) as ready:
            if not ready.pids:
                print(f"{name} has no server to record")
                return
            recording = PerfRecording(ready.pids, session.scratch, "server")
            host_load.measure(ready, shape, max(plan.seconds, _RECORDED_S))
            recorded.append(recording.stop())
        title = f"{name}, {shape.label}"
        (directory / f"{number}.flame.svg").write_text(flame_graph(recorded[-1], title))
        busy = ", ".join(f"{one} {share:.0%}" for one, share in busiest(recorded[-1]))
        print(f"{title}: busiest: {busy}")
    if len(recorded) > 1:
        target, other = descriptions
        title = f"{target}, compared with {other}: red has a larger share"
        text = flame_difference(recorded[1], recorded[0], title)
        (directory / "difference.flame.svg").write_text(text)
    print(f"flame graphs: {directory}")


def _update_baseline(options: Options, result: Result) -> None:
    file = options.execution.baseline
    if file is None or not options.execution.update_baseline:
        return
    if any(one.wrong for one in result.compared):
        print(f"{file} is not updated, because of the regression")
        return
    known = baselines.read(file)
    baselines.add(known, result.machine, result.target, result.measured.samples[result.target])
    baselines.write(file, known)
    print(f"{file}: baseline of {result.target} for {baselines.fingerprint(result.machine)}")
