"""The runner inside pytest: the session of ./check, and the run loop of plain pytest.

Both build their run in `build_run`, so that the same flags give the same verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from qbdcheck import clock
from qbdcheck.bootstrap.version import commit
from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.catalogue.catalogue import list_cases, read_case
from qbdcheck.catalogue.groups import load_groups
from qbdcheck.catalogue.plan import Planned, allowed_reasons, excluded_reasons
from qbdcheck.catalogue.qemu_bugs import bugs_of
from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import ROOT
from qbdcheck.machine_speed import be_patient
from qbdcheck.options import Execution, Options, TargetOptions
from qbdcheck.programs.installed import Programs
from qbdcheck.pytest_integration.fixtures import (
    capabilities_of,
    description_of,
    import_all,
    import_guests,
)
from qbdcheck.pytest_integration.items import is_case, register_fixtures
from qbdcheck.pytest_integration.pytest_reports import PytestReports
from qbdcheck.report.causes import Contradiction
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.host import machine_facts, run_environment
from qbdcheck.report.reporter import Reporter, reporters_for
from qbdcheck.runner.case_run import Arbiter, Result, Unit
from qbdcheck.runner.case_state import (
    EXECUTION,
    GUEST_OPTIONS,
    IMAGE_FORMAT,
    REPORTS,
    SELECTION,
    TARGET_OPTIONS,
    store_options,
)
from qbdcheck.runner.experiments import LIMIT_S as EXPERIMENT_LIMIT_S
from qbdcheck.runner.lanes import Place, UnitRunner, Watcher
from qbdcheck.runner.preflight import decide_before, fixtures_of
from qbdcheck.runner.reaper import Reaper
from qbdcheck.runner.run import Run, rerun_command
from qbdcheck.saved.baseline import Baseline
from qbdcheck.saved.baseline import load as load_baseline
from qbdcheck.targets.description import Description
from qbdcheck.targets.run_server import ENDS_SERVER, shared_servers_end
from qbdcheck.verdict import Verdict

_VALGRIND_SLOWDOWN = 30.0
_PLUGINS_OFF = (
    "cacheprovider", "debugging", "doctest", "faulthandler", "junitxml", "legacypath", "logging",
    "pastebin", "pytester", "recwarn", "stepwise", "threadexception", "unraisableexception",
)  # fmt: skip
"""Plugins of pytest that a case never uses; a child starts faster without them."""

_MANY = 4
"""From so many cases on, it pays to import before they fork what some of them may use."""


@dataclass(frozen=True)
class Elsewhere:
    """Machines that run the units instead of this one.

    :ivar lanes: the number of units that they run at the same time.
    :ivar capabilities: those that the target has on all of them.
    :ivar environment: with ``facts``, those of `Run`.
    :ivar verdict_before: as in `Run`: decides whether any of them can run a unit.
    :ivar make_lanes: as in `Run`.
    """

    lanes: int
    capabilities: frozenset[str]
    environment: Mapping[str, str]
    facts: Mapping[str, str]
    verdict_before: Callable[[Unit], Result | None]
    make_lanes: Callable[[Place, Watcher, bool], UnitRunner]


def build_run(
    config: pytest.Config,
    units: Sequence[Unit],
    reports: Sequence[Reporter],
    reaper: Reaper,
    excluded: Mapping[tuple[str, str], str],
    *,
    elsewhere: Elsewhere | None = None,
) -> Run:
    """Return the run of `units`, with the options in the stash of `config`.

    :param excluded: the reason for each excluded unit, by `Unit.key`.
    :param elsewhere: what runs the units; None for children of this process.
    :raise SetupError: the target does not start.
    :raise UsageError: the profile, or the list of allowed reasons, is wrong.
    """
    selection, target = config.stash[SELECTION], config.stash[TARGET_OPTIONS]
    execution = config.stash[EXECUTION]
    be_patient(execution.timeout_s)
    description = description_of(config)
    running = [unit.case for unit in units if unit.key not in excluded]
    if elsewhere is None and len(running) >= _MANY:
        import_all()
    baseline = None
    if execution.baseline is not None:
        baseline = load_baseline(
            execution.baseline,
            description.name,
            {case.case_id for case in list_cases(selection.suites_dir)},
            may_miss=execution.update_baseline,
        )
    if elsewhere is not None:
        here, before = elsewhere, _unless_excluded(elsewhere.verdict_before, excluded)
        execution = replace(execution, lanes=here.lanes)
        capabilities, environment, facts = here.capabilities, here.environment, here.facts
    else:
        before = _verdict_before(config, excluded)
        capabilities, facts = capabilities_of(config), _facts(description)
        environment = run_environment(execution.scratch_root)
        environment |= _guest_description(config, running)
    return Run(
        target=target,
        execution=execution,
        planned=units,
        reports=reports,
        verdict_before=before,
        deviation_of=lambda unit: description.expected_deviation(
            unit.case.case_id, unit.image_format
        ),
        rerun_command=partial(rerun_command, selection.suites_dir, target, execution.golden_dir),
        reaper=reaper,
        target_name=description.name,
        keep_timelines=bool(config.stash[REPORTS].html_file or config.stash[REPORTS].bundle_file),
        environment=environment,
        waives=description.waived_policies,
        facts=facts,
        capabilities=sorted(capabilities),
        withdrawn=sorted(description.lacks),
        allowed_reasons=(
            allowed_reasons(selection.suites_dir, description.name) if execution.strict else None
        ),
        baseline=baseline,
        make_lanes=elsewhere.make_lanes if elsewhere is not None else None,
        shard="{}/{}".format(*selection.shard) if selection.shard else "",
    )


def update_baseline(baseline: Baseline) -> str:
    """Write what the run has changed in the baseline; return the line that says it.

    :raise UsageError: the file cannot be written.
    """
    changed, new, gone = baseline.updated(clock.date(clock.wall_s()))
    changed.write()
    count = len(changed.known)
    failures = f"{count} known failure{'s' * (count != 1)}"
    return f"baseline: {baseline.path}: {failures} ({new} new, {gone} removed)"


def _facts(description: Description) -> dict[str, str]:
    """Return what is known of the checkout, the backend and the machine."""
    try:
        backend = description.server_version() or "not known: the profile has no 'version:'"
    except SetupError as error:
        backend = f"not known: {error}"
    facts = {"commit": commit(), "backend": backend, "profile": description.about}
    return {name: value for name, value in (facts | machine_facts()).items() if value}


def make_unit(
    case: CaseInfo,
    image_format: str,
    config: pytest.Config,
    execution: Execution,
    collect: Callable[[], pytest.Item],
) -> Unit:
    """Return the unit of `case` under `image_format`."""
    limit_s = limit_of(case, config.stash[TARGET_OPTIONS], execution)
    if limit_s is not None:
        limit_s += own_start_s(description_of(config), case.spec.requires)
    return Unit(
        case, image_format, execution.seed, limit_s, collect, arbiter=_arbiter(case, config)
    )


def _arbiter(case: CaseInfo, config: pytest.Config) -> Arbiter | None:
    """Return what finds out whether a failure is QEMU's fault, for a case that may find one."""
    if not (bugs := bugs_of(case.number)):
        return None
    from qbdcheck.pytest_integration.without_target import WithoutTarget

    selection, execution = config.stash[SELECTION], config.stash[EXECUTION]
    return WithoutTarget(
        bugs,
        description_of(config),
        config.stash[TARGET_OPTIONS],
        selection.suites_dir,
        execution.golden_dir,
        execution.cache_dir,
    )


def limit_of(case: CaseInfo, target: TargetOptions, execution: Execution) -> float | None:
    """Return the time limit of a case in seconds: none under gdb, longer under valgrind."""
    if target.gdb:
        return None
    if execution.timeout_s:
        return execution.timeout_s
    limit_s = case.spec.limit_s
    if "runtest" in case.spec.groups:
        limit_s += execution.soak_s
    return limit_s * _VALGRIND_SLOWDOWN if target.valgrind else limit_s


def own_start_s(description: Description, requires: Sequence[str]) -> float:
    """Return the seconds that servers of a case's own may take, beside its limit.

    A case that ends its server cannot use the one of the run (``scope: run``). It starts one, ends
    it and starts it again.
    """
    if description.scope != "run" or ENDS_SERVER.isdisjoint(requires):
        return 0.0
    return 2 * description.ready.within if description.ready is not None else 0.0


def _verdict_before(
    config: pytest.Config, excluded: Mapping[tuple[str, str], str]
) -> Callable[[Unit], Result | None]:
    """Return the function that decides before a unit starts whether it can run."""
    capabilities = capabilities_of(config)
    description = description_of(config)
    programs = Programs(
        description.program_paths, build=description.build, install=description.install
    )
    absent = description.not_here()

    def decide(unit: Unit) -> Result | None:
        if reason := excluded.get(unit.key):
            return Result(Verdict.NOT_RUN, reasons=(reason,))
        if absent:
            return Result(Verdict.NOT_RUN, reasons=absent)
        return decide_before(unit.case, unit.image_format, capabilities, programs)

    return decide


def _unless_excluded(
    decide: Callable[[Unit], Result | None], excluded: Mapping[tuple[str, str], str]
) -> Callable[[Unit], Result | None]:
    def decided(unit: Unit) -> Result | None:
        if reason := excluded.get(unit.key):
            return Result(Verdict.NOT_RUN, reasons=(reason,))
        return decide(unit)

    return decided


def _guest_description(config: pytest.Config, cases: Sequence[CaseInfo]) -> dict[str, str]:
    """Prepare guests once before the lanes start, if a case needs one; return their description."""
    paths = {case.path for case in cases}
    if not any(b"guest" in path.read_bytes() and "guest" in fixtures_of(path) for path in paths):
        return {}
    import_guests()
    from qbdcheck.guest.setup import guest_setup

    cache_dir, custom = config.stash[EXECUTION].cache_dir, config.stash[GUEST_OPTIONS].custom
    try:
        programs = Programs(description_of(config).program_paths)
        return {"guest": str(guest_setup(programs, cache_dir, custom))}
    except (NotRun, CaseBroken, ProgramError) as error:
        return {"guest": f"none: {str(error).partition(chr(10))[0]}"}


# Section: the session of ./check


class CheckSession:
    """The plugin that ./check registers: the plan exists already, and pytest collects nothing.

    ``was_interrupted`` returns whether a signal came before the lanes handle signals.
    ``contradictions`` probes the claims of the target in a directory, for a run that failed; its
    second argument are the capabilities to probe.
    ``elsewhere`` runs the cases on other machines.
    ``progress`` makes the context in which the target is probed: it tells a user who waits.
    ``error`` is the exception that ended the run early, ``exit_code`` the code of a complete run;
    both are None if pytest ended before the run started.
    """

    def __init__(
        self,
        options: Options,
        plan: Sequence[Planned],
        reaper: Reaper,
        was_interrupted: Callable[[], bool] = lambda: False,
        contradictions: Callable[[Path, frozenset[str]], Sequence[Contradiction]] | None = None,
        *,
        elsewhere: Elsewhere | None = None,
        progress: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._elsewhere = elsewhere
        self._progress = progress
        self._was_interrupted = was_interrupted
        self._contradictions = contradictions
        self._options = options
        self._plan = plan
        self._reaper = reaper
        self.exit_code: int | None = None
        self.error: BaseException | None = None
        self.remarks: list[str] = []
        """What is to be printed below the summary."""
        self.capabilities: frozenset[str] = frozenset()
        """Those of the target, as they were probed."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Store the options before any other plugin reads them."""
        store_options(config, self._options)
        register_fixtures(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect nothing: each case is imported in its own child."""
        session.items = []
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the plan. pytest would hide an exception here: it is kept for ./check."""
        try:
            self._run(session)
        except BaseException as error:
            self.error = error
        return True

    def _run(self, session: pytest.Session) -> None:
        reports = reporters_for(self._options.reports)
        units = [self._unit_of(session, planned) for planned in self._plan]
        excluded = {
            (one.case.case_id, one.image_format): one.excluded for one in self._plan if one.excluded
        }
        elsewhere = self._elsewhere
        with self._progress():
            run = build_run(
                session.config, units, reports, self._reaper, excluded, elsewhere=elsewhere
            )
        if self._contradictions is not None and elsewhere is None:
            scratch = self._reaper.scratch_root
            claimed, probed = capabilities_of(session.config), self._contradictions
            run.contradictions = lambda words: probed(scratch, claimed & words)
        if self._options.execution.experiments and elsewhere is None:
            run.experiment_on = lambda unit, failed: self._experiment_on(session, unit, failed)
        if self._was_interrupted():
            raise KeyboardInterrupt
        self.capabilities = frozenset(run.capabilities)
        self.exit_code = run.execute()
        if run.setup_error:
            raise SetupError(run.setup_error)
        if run.baseline is not None and self._options.execution.update_baseline:
            self.remarks.append(update_baseline(run.baseline))

    def _experiment_on(self, session: pytest.Session, unit: Unit, failed: CaseEnded) -> Unit:
        """Return the unit that makes an experiment on a failed one."""

        def collect() -> pytest.Item:
            # Only a run that failed needs it.
            from qbdcheck.pytest_integration import experiment_case

            item = collect_one(session, Path(experiment_case.__file__), unit.image_format)
            item.stash[experiment_case.TASK] = experiment_case.Task.of(failed)
            return item

        return replace(unit, limit_s=EXPERIMENT_LIMIT_S, collect=collect, arbiter=None)

    def _unit_of(self, session: pytest.Session, planned: Planned) -> Unit:
        case, image_format = planned.case, planned.image_format

        def collect() -> pytest.Item:
            return collect_one(session, case.path, image_format)

        options = self._options
        return make_unit(case, image_format, session.config, options.execution, collect)


def pytest_argv(suites_dir: Path) -> list[str]:
    """Return the arguments of pytest for a session of ./check."""
    argv = ["--disable-plugin-autoload", "--capture=no", "--tb=short", "--noconftest"]
    argv += ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}"]
    argv += [word for name in _PLUGINS_OFF for word in ("-p", f"no:{name}")]
    return [*argv, str(suites_dir)]


def collect_one(session: pytest.Session, unit_path: Path, image_format: str) -> pytest.Item:
    """Import the case in the file at `unit_path`; return its item for one image format.

    :raise BaseException: any error of the import.
    """
    stash = session.config.stash
    stash[TARGET_OPTIONS] = replace(stash[TARGET_OPTIONS], formats=(image_format,))
    module: pytest.Module = pytest.Module.from_parent(session, path=unit_path)
    try:
        module.obj  # noqa: B018  # imports it: genitems below would hide what the import raises
    except pytest.Collector.CollectError as error:
        raise error.__cause__ or error from None
    cases = [item for item in session.genitems(module) if is_case(item)]
    if len(cases) != 1:
        raise TypeError(f"{unit_path.name} has {len(cases)} cases; exactly one is needed")
    return cases[0]


class NoTerminal:
    """A plugin that removes pytest's own terminal output."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Unregister the reporter after the plugin ``terminal`` has made it."""
        config.pluginmanager.unregister(name="terminalreporter")


# Section: the run loop of plain pytest


def run_items(
    session: pytest.Session,
    items: Sequence[pytest.Item],
    reports: Callable[[Mapping[tuple[str, str], pytest.Item]], Reporter] = PytestReports,
) -> None:
    """Run the cases that plain pytest has collected, with its own reports.

    :param reports: makes the only report of the run, from the items by `Unit.key`.

    :raise KeyboardInterrupt: the run was interrupted; no process of it is left.
    :raise pytest.UsageError: the target does not start.
    """
    config = session.config
    execution = config.stash[EXECUTION]
    try:
        with Reaper(execution.scratch_root, execution.keep) as reaper:
            config.stash[EXECUTION] = replace(execution, scratch_root=reaper.scratch_root)
            with shared_servers_end(keep=execution.keep):
                _run_items(config, items, reaper, reports)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    finally:
        config.stash[EXECUTION] = execution


def _run_items(
    config: pytest.Config,
    items: Sequence[pytest.Item],
    reaper: Reaper,
    reports: Callable[[Mapping[tuple[str, str], pytest.Item]], Reporter],
) -> None:
    selection, target = config.stash[SELECTION], config.stash[TARGET_OPTIONS]
    execution = config.stash[EXECUTION]
    groups = load_groups(selection.suites_dir)
    by_key: dict[tuple[str, str], pytest.Item] = {}
    units: list[Unit] = []
    for item in items:
        case, image_format = read_case(item.path, groups), image_format_of(item, target)
        unit = make_unit(case, image_format, config, execution, partial(_itself, item))
        by_key[unit.key] = item
        units.append(unit)
    catalogue = list_cases(selection.suites_dir, groups)
    excluded = {
        (case_id, image_format): reason
        for image_format in target.formats
        for case_id, reason in excluded_reasons(
            selection, target.name, catalogue, image_format
        ).items()
    }
    run = build_run(config, units, [reports(by_key)], reaper, excluded)
    code = run.execute()
    if run.setup_error:
        raise SetupError(run.setup_error)
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt


def _itself(item: pytest.Item) -> pytest.Item:
    return item


def image_format_of(item: pytest.Item, target: TargetOptions) -> str:
    """Return the image format of a collected item: its parameter, or the only one of the run."""
    if IMAGE_FORMAT in item.stash:
        return item.stash[IMAGE_FORMAT]
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec is not None else {}
    return str(parameters.get("qbdcheck_image_format", target.formats[0]))
