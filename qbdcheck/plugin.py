"""The pytest plugin: turns numbered files into cases, and runs each in a forked child.

``./check`` comes here through `qbdcheck.cli`, which registers a `CheckSession` first. Plain
``pytest suites -k 017`` uses pytest's own selection and the defaults of ``./check``. Tests without
``@case`` are left to pytest.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qbdcheck.arguments import parse
from qbdcheck.bootstrap.bytecode import keep_bytecode
from qbdcheck.catalogue.case import spec_of
from qbdcheck.catalogue.catalogue import CASE_FILE
from qbdcheck.errors import UsageError
from qbdcheck.options import Options
from qbdcheck.pytest_integration.items import FORMAT_PARAMETER, is_case, register_fixtures
from qbdcheck.runner.case_state import EXECUTION, TARGET_OPTIONS, store_options
from qbdcheck.seed import Seed


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--check``: the flags of ./check, in one string."""
    parser.addoption(
        "--check",
        default="",
        metavar="FLAGS",
        help='flags of ./check: --check="-t qemu-nbd -qcow2"',
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Store the options of the run for the fixtures."""
    keep_bytecode()
    if EXECUTION not in config.stash:
        store_options(config, _options_of(config))
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_Xdist(), "qbdcheck-xdist")
    # A worker of pytest-xdist has the seed of its controller.
    if workerinput := getattr(config, "workerinput", None):
        seed = Seed(workerinput["qbdcheck_seed"])
        config.stash[EXECUTION] = replace(config.stash[EXECUTION], seed=seed)


class _Xdist:
    """Hooks of pytest-xdist, registered if it is installed."""

    def pytest_configure_node(self, node: Any) -> None:
        """Give the seed to a worker."""
        node.workerinput["qbdcheck_seed"] = int(node.config.stash[EXECUTION].seed)

    def pytest_report_header(self, config: pytest.Config) -> str:
        """Print the seed: under pytest-xdist the controller does not collect."""
        return f"qbdcheck: seed {config.stash[EXECUTION].seed}"


def _options_of(config: pytest.Config) -> Options:
    try:
        options = parse(shlex.split(str(config.getoption("--check"))))
    except UsageError as error:
        raise pytest.UsageError(f"--check: {error}") from None
    except ValueError as error:
        raise pytest.UsageError(f"--check: {error}") from None
    runs_cases = not (options.subcommand or options.command or options.list_only)
    if not runs_cases or options.dry_run or options.cluster:
        raise pytest.UsageError("--check takes only flags that run cases, here")
    return options


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Register the fixtures with the first case; other tests do not pay for their imports."""
    if CASE_FILE.match(module_path.name):
        register_fixtures(parent.config)


@pytest.fixture
def qbdcheck_image_format(request: pytest.FixtureRequest) -> str:
    """The image format of an item, if the run has several."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item for each image format, if the run has several."""
    formats = metafunc.config.stash[TARGET_OPTIONS].formats
    if spec_of(metafunc.function) is not None and len(formats) > 1:
        metafunc.fixturenames.append(FORMAT_PARAMETER)
        metafunc.parametrize(FORMAT_PARAMETER, formats, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Compare the output with the golden file during the call, not during teardown."""
    result = yield
    if spec_of(pyfuncitem.function) is not None:
        # only processes with cases need these
        from qbdcheck.pytest_integration.fixtures import qemu_version_of
        from qbdcheck.runner.child import check_golden

        check_golden(pyfuncitem, lambda: qemu_version_of(pyfuncitem.config))
    return result


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Print the seed of a run with cases, so that the run can be repeated."""
    if not any(is_case(item) for item in items):
        return []
    target, seed = config.stash[TARGET_OPTIONS], config.stash[EXECUTION].seed
    return [f"qbdcheck: target {target.name}, formats {target.formats}, seed {seed}"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Report a case that has run; run it first in a worker of pytest-xdist."""
    if not is_case(item):
        return None
    from qbdcheck.pytest_integration.pytest_reports import (
        ENDED,
        Endings,
        repeat_verdict,
        report_error,
    )
    from qbdcheck.pytest_integration.session import run_items

    if ENDED not in item.stash:
        try:
            run_items(item.session, [item], Endings)
        except pytest.UsageError as error:  # a worker must report every item that it was given
            report_error(item, str(error))
            return True
    repeat_verdict(item)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Complete the report of a case."""
    report = yield
    if is_case(item):
        from qbdcheck.pytest_integration.pytest_reports import complete

        complete(item, report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run cases in lanes, then the other tests as pytest does."""
    if session.config.option.collectonly or not any(is_case(one) for one in session.items):
        return None
    if hasattr(session.config, "workerinput"):
        return None  # pytest-xdist gives this worker one item after another
    from qbdcheck.pytest_integration.session import run_items  # needs the code of targets

    run_items(session, [item for item in session.items if is_case(item)])
    session.items[:] = [item for item in session.items if not is_case(item)]
    return None if session.items else True
