"""Both faces of a run under pytest: the session that ./check starts, and that of plain pytest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from qbdcheck.catalogue.case import CaseInfo, CaseSpec
from qbdcheck.catalogue.catalogue import read_case
from qbdcheck.catalogue.groups import load_groups
from qbdcheck.catalogue.plan import Planned, allowed_reasons
from qbdcheck.errors import NotRun, ProgramError, SetupError, UsageError
from qbdcheck.guest.setup import guest_setup
from qbdcheck.options import Options
from qbdcheck.programs.installed import Programs
from qbdcheck.pytest_integration.fixtures import capabilities_of, description_of
from qbdcheck.pytest_integration.items import is_case, register_fixtures
from qbdcheck.report.events import CaseEnded, CaseStarted, Event
from qbdcheck.report.host import run_environment
from qbdcheck.report.reporter import reporters_for
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.case_state import IMAGE_FORMAT, OPTIONS
from qbdcheck.runner.preflight import decide_before, fixtures_of
from qbdcheck.runner.reaper import Reaper
from qbdcheck.runner.run import EXIT_INTERRUPTED, Run
from qbdcheck.verdict import Verdict

_VALGRIND_SLOWDOWN = 30.0


def limit_of(case: CaseInfo, options: Options) -> float | None:
    """The time limit of a case in seconds; none under gdb, more under valgrind."""
    if options.gdb:
        return None
    limit_s = options.timeout_s or case.spec.limit_s
    if "runtest" in case.spec.groups and not options.timeout_s:
        limit_s += options.soak_s
    return limit_s * _VALGRIND_SLOWDOWN if options.valgrind and not options.timeout_s else limit_s


def collect_one(session: pytest.Session, unit_path: Path, image_format: str) -> pytest.Item:
    """The item of the case in the file at `unit_path`, imported now, for one image format.

    :raise BaseException: whatever the import raises.
    """
    stash = session.config.stash
    stash[OPTIONS] = replace(stash[OPTIONS], formats=(image_format,))
    module: pytest.Module = pytest.Module.from_parent(session, path=unit_path)
    try:
        module.obj  # noqa: B018  # imports it: genitems below would swallow what that raises
    except pytest.Collector.CollectError as error:
        raise error.__cause__ or error from None
    cases = [item for item in session.genitems(module) if is_case(item)]
    if len(cases) != 1:
        raise TypeError(f"{unit_path.name} has {len(cases)} cases; exactly one is needed")
    return cases[0]


class CheckSession:
    """The plugin that ./check hands to pytest.main: the plan is made, nothing is collected.

    ``error`` is what ended the run before its end, ``exit_code`` that of a run that had an end;
    both are None where pytest was ended before it came to the run.
    """

    def __init__(
        self,
        options: Options,
        plan: Sequence[Planned],
        reaper: Reaper,
    ) -> None:
        self._options = options
        self._plan = plan
        self._reaper = reaper
        self.exit_code: int | None = None
        self.error: BaseException | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Hand the options to everybody, before anybody asks."""
        config.stash[OPTIONS] = self._options
        register_fixtures(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect nothing: each case is imported in its own child."""
        session.items = []
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the plan. pytest would hide what goes wrong here: it is kept for ./check."""
        try:
            self._run(session)
        except BaseException as error:
            self.error = error
        return True

    def _run(self, session: pytest.Session) -> None:
        options = self._options
        reports = reporters_for(options)
        run = Run(
            options,
            [self._unit_of(session, planned) for planned in self._plan],
            reports,
            decision(session.config, self._plan),
            deviations(session.config),
            self._reaper,
            run_environment(options.scratch_root) | self._guest_words(session.config),
            allowed_reasons(options.suites_dir) if options.strict else (),
        )
        self.exit_code = run.execute()
        if run.setup_error:
            raise SetupError(run.setup_error)

    def _guest_words(self, config: pytest.Config) -> dict[str, str]:
        """What guests of the run are; made now, where a case needs one, and not in each lane."""
        wanted = (one.case.path for one in self._plan if not one.excluded)
        if not any(b"guest" in one.read_bytes() and "guest" in fixtures_of(one) for one in wanted):
            return {}
        options = self._options
        try:
            programs = Programs(description_of(config).program_paths)
            return {"guest": str(guest_setup(programs, options.cache_dir, options.custom_guest))}
        except (NotRun, ProgramError) as error:
            return {"guest": f"none: {str(error).partition(chr(10))[0]}"}

    def _unit_of(self, session: pytest.Session, planned: Planned) -> Unit:
        case, image_format = planned.case, planned.image_format

        def collect() -> pytest.Item:
            return collect_one(session, case.path, image_format)

        limit_s = limit_of(case, self._options)
        return Unit(case, image_format, self._options.seed, limit_s, collect)


def decision(
    config: pytest.Config, plan: Sequence[Planned] = ()
) -> Callable[[Unit], Result | None]:
    """What decides, before a unit starts, whether it can run; asks the target what it can do.

    :raise SetupError: the target does not come up, or its profile is wrong.
    """
    description, capabilities = description_of(config), capabilities_of(config)
    programs = Programs(description.program_paths)
    excluded = {(one.case.case_id, one.image_format): one.excluded for one in plan if one.excluded}

    def decide(unit: Unit) -> Result | None:
        if reason := excluded.get(unit.key):
            return Result(Verdict.NOT_RUN, reasons=(reason,))
        return decide_before(unit.case, unit.image_format, capabilities, programs)

    return decide


def deviations(config: pytest.Config) -> Callable[[Unit], str | None]:
    """What knows the units that the target's profile expects to fail."""
    description = description_of(config)
    return lambda unit: description.expected_deviation(unit.case.case_id, unit.image_format)


class NoTerminal:
    """A plugin that takes pytest's own terminal output away, once it is there to be taken."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Comes after the plugin ``terminal`` has made its reporter."""
        config.pluginmanager.unregister(name="terminalreporter")


class PytestReports:
    """Turns events into pytest's reports, so that its terminal, JUnit and exit code are right."""

    def __init__(self, items: dict[tuple[str, str], pytest.Item]) -> None:
        self._items = items

    def handle(self, event: Event) -> None:
        """Log the start and the end of cases."""
        if isinstance(event, CaseStarted | CaseEnded):
            item = self._items[event.case_id, event.image_format]
            if isinstance(event, CaseStarted):
                item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            else:
                for report in _reports_of(item, event):
                    item.ihook.pytest_runtest_logreport(report=report)
                item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def tick(self) -> None:
        """Nothing to redraw."""

    def close(self) -> None:
        """Nothing to write."""


def _reports_of(item: pytest.Item, ended: CaseEnded) -> list[pytest.TestReport]:
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    longrepr: str | tuple[str, int, str] | None = None
    if ended.verdict is Verdict.NOT_RUN:
        outcome = "skipped"
        longrepr = (str(item.path), item.location[1] or 0, "; ".join(ended.reasons))
    elif ended.verdict.is_bad:
        outcome = "failed"
        verdict = "BROKEN: " if ended.verdict is Verdict.BROKEN else ""
        longrepr = f"{verdict}{ended.message}\n{ended.details}\nagain: {ended.rerun}"
    nodeid, location = item.nodeid, item.location
    seconds = ended.elapsed_s
    return [
        pytest.TestReport(nodeid, location, {}, "passed", None, "setup"),
        pytest.TestReport(nodeid, location, {}, outcome, longrepr, "call", duration=seconds),
        pytest.TestReport(nodeid, location, {}, "passed", None, "teardown"),
    ]


def run_items(session: pytest.Session, items: Sequence[pytest.Item]) -> None:
    """Run the cases that plain pytest has collected, with its own reports.

    :raise KeyboardInterrupt: the run was interrupted; nothing of it is left.
    :raise pytest.UsageError: the target cannot be made ready.
    """
    config = session.config
    options = config.stash[OPTIONS]
    try:
        with Reaper(options.scratch_root, options.keep) as reaper:
            config.stash[OPTIONS] = replace(options, scratch_root=reaper.scratch_root)
            _run_items(config, items, reaper)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    finally:
        config.stash[OPTIONS] = options


def _run_items(config: pytest.Config, items: Sequence[pytest.Item], reaper: Reaper) -> None:
    options = config.stash[OPTIONS]
    groups = load_groups(options.suites_dir)
    by_key: dict[tuple[str, str], pytest.Item] = {}
    units: list[Unit] = []
    for item in items:
        unit = _unit_of(item, image_format_of(item, options), options, groups)
        by_key[unit.key] = item
        units.append(unit)
    reports = [PytestReports(by_key)]
    run = Run(options, units, reports, decision(config), deviations(config), reaper)
    code = run.execute()
    if run.setup_error:
        raise SetupError(run.setup_error)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt


def _unit_of(
    item: pytest.Item, image_format: str, options: Options, groups: dict[str, str]
) -> Unit:
    case = read_case(item.path, groups)
    if not case.sentence and not case.broken:
        case = CaseInfo(item.path, case.number, "", CaseSpec(()))
    return Unit(case, image_format, options.seed, limit_of(case, options), lambda: item)


def image_format_of(item: pytest.Item, options: Options) -> str:
    """The image format of a collected item: its parameter, or the only one of the run."""
    if IMAGE_FORMAT in item.stash:
        return item.stash[IMAGE_FORMAT]
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params if callspec is not None else {}
    return str(parameters.get("qbdcheck_image_format", options.formats[0]))
