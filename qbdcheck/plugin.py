"""The pytest plugin: makes cases of numbered files, and runs each in a forked child.

``./check`` comes here through `qbdcheck.cli`, which leaves a `Session` in the plugin manager; plain
``pytest suites -k 017`` comes here with pytest's own selection, and the defaults of ``./check``.
Tests without ``@case`` are none of our business.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from qbdcheck.arguments import parse
from qbdcheck.bootstrap.bytecode import keep_bytecode
from qbdcheck.catalogue.case import spec_of
from qbdcheck.catalogue.catalogue import CASE_FILE
from qbdcheck.options import Options
from qbdcheck.pytest_integration.items import FORMAT_PARAMETER, is_case, register_fixtures
from qbdcheck.runner.case_state import OPTIONS


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let plain pytest have the flags of ./check, in one string."""
    parser.addoption(
        "--check",
        default="",
        metavar="FLAGS",
        help='flags of ./check: --check="-t qemu-nbd -qcow2"',
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the options of the run known to fixtures."""
    keep_bytecode()
    if OPTIONS not in config.stash:
        config.stash[OPTIONS] = _options_of(config)


def _options_of(config: pytest.Config) -> Options:
    return parse(str(config.getoption("--check")).split())


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Bring the fixtures of cases with the first case: other tests do not pay for their imports."""
    if CASE_FILE.match(module_path.name):
        register_fixtures(parent.config)


@pytest.fixture
def qbdcheck_image_format(request: pytest.FixtureRequest) -> str:
    """The image format of an item, where a run has several."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item for each image format, where there are several."""
    formats = metafunc.config.stash[OPTIONS].formats
    if spec_of(metafunc.function) is not None and len(formats) > 1:
        metafunc.fixturenames.append(FORMAT_PARAMETER)
        metafunc.parametrize(FORMAT_PARAMETER, formats, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Compare the output with the golden file as a part of the call, not of a teardown."""
    result = yield
    if spec_of(pyfuncitem.function) is not None:
        from qbdcheck.runner.child import check_golden  # there only where cases are

        check_golden(pyfuncitem)
    return result


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Print the seed of a run with cases: it is what a run is repeated with."""
    if not any(is_case(item) for item in items):
        return []
    options = config.stash[OPTIONS]
    return [f"qbdcheck: target {options.target}, formats {options.formats}, seed {options.seed}"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run cases in lanes, and then the other tests as pytest does."""
    if session.config.option.collectonly or not any(is_case(one) for one in session.items):
        return None
    from qbdcheck.pytest_integration.session import run_items  # needs the target's code

    if hasattr(session.config, "workerinput"):
        raise pytest.UsageError("cases do not run under xdist: use ./check -j N")
    run_items(session, [item for item in session.items if is_case(item)])
    session.items[:] = [item for item in session.items if not is_case(item)]
    return None if session.items else True
