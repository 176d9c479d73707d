"""The pytest plugin: makes cases of numbered files, and runs each in a forked child.

``./check`` comes here through `qbdcheck.cli`, which leaves a `Session` in the plugin manager; plain
``pytest suites -k 017`` comes here with pytest's own selection, and the defaults of ``./check``.
Tests without ``@case`` are none of our business.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

# Registered below, not named in pytest_plugins: ./check has imported them before pytest looks.
from qbdcheck import case_fixtures, fixtures
from qbdcheck.arguments import parse
from qbdcheck.case import spec_of
from qbdcheck.child import check_golden
from qbdcheck.options import Options
from qbdcheck.pytest_face import is_case, run_items
from qbdcheck.stash import OPTIONS

FORMAT_PARAMETER = "qbdcheck_image_format"
"""Parameter of a case's items under plain pytest with several formats."""


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
    """Bring the fixtures of cases, and make the options of the run known to them."""
    config.pluginmanager.register(case_fixtures)
    config.pluginmanager.register(fixtures)
    if OPTIONS not in config.stash:
        config.stash[OPTIONS] = _options_of(config)


def _options_of(config: pytest.Config) -> Options:
    return parse(str(config.getoption("--check")).split())


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
        check_golden(pyfuncitem)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run cases in lanes, and then the other tests as pytest does."""
    if session.config.option.collectonly:
        return None
    cases = [item for item in session.items if is_case(item)]
    if cases:
        if hasattr(session.config, "workerinput"):
            raise pytest.UsageError("cases do not run under xdist: use ./check -j N")
        run_items(session, cases)
        session.items[:] = [item for item in session.items if not is_case(item)]
    return None if session.items or not cases else True
