"""The command ``./check``: parse, plan, run under pytest, exit."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from qbdcheck.arguments import ROOT, parse
from qbdcheck.errors import UsageError
from qbdcheck.options import Options
from qbdcheck.plan import Planned, make_plan

EXIT_USAGE = 2


def main(words: Sequence[str] | None = None) -> int:
    """Run what `words` (sys.argv by default) ask for; return the exit code."""
    try:
        return _main(parse(sys.argv[1:] if words is None else words))
    except UsageError as error:
        print(f"check: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of our output has gone: say nothing more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_USAGE


def _main(options: Options) -> int:
    plan = make_plan(options)
    if options.list_only or options.dry_run:
        return _show(options, plan)
    return run_plan(options, plan)


def _show(options: Options, plan: Sequence[Planned]) -> int:
    for planned in sorted(plan, key=lambda one: one.case.number):
        case = planned.case
        text = case.sentence or case.broken
        if options.list_only:
            print(f"{case.case_id}  [{' '.join(case.spec.groups)}]  {text}")
        else:
            why = f"  not run: {planned.excluded}" if planned.excluded else ""
            print(f"{planned.image_format:9} {case.case_id}{why}")
    return 0


def run_plan(options: Options, plan: Sequence[Planned]) -> int:
    """Run `plan` under pytest; return the exit code.

    :raise UsageError: the run cannot start, or its target does not.
    """
    import pytest  # noqa: PLC0415  # 0.2 s that --help does not need

    from qbdcheck.pytest_face import CheckSession, NoTerminal, make_scratch_root  # noqa: PLC0415
    from qbdcheck.report.reporter import reporters_for  # noqa: PLC0415

    options = replace(options, scratch_root=make_scratch_root(options.scratch_root))
    session = CheckSession(options, plan, lambda: reporters_for(options))
    try:
        with _warm():
            pytest.main(_pytest_words(options), plugins=[session, NoTerminal()])
    finally:
        if not options.keep:
            shutil.rmtree(options.scratch_root, ignore_errors=True)
    if session.setup_error:
        raise UsageError(session.setup_error)
    return session.exit_code


def _pytest_words(options: Options) -> list[str]:
    """pytest without what a case never uses: a child starts sooner, and writes nothing anywhere."""
    off = ("cacheprovider", "junitxml", "doctest", "pastebin", "stepwise", "debugging", "faulthandler",
           "logging", "unraisableexception", "threadexception", "legacypath", "recwarn", "nose", "pytester")
    return [
        "-q", "--disable-plugin-autoload", "--capture=no", "--tb=short", "--no-header",
        "-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", "--noconftest",
        "-p", "qbdcheck.plugin", *(word for name in off for word in ("-p", f"no:{name}")),
        str(options.suites_dir),
    ]


@contextlib.contextmanager
def _warm() -> Iterator[None]:
    """No garbage collection in the runner: a collected page is a page that each child copies."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.enable()
