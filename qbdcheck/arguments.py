"""The command line of ./check: from arguments to frozen `Options`."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from qbdcheck import clock
from qbdcheck.catalogue.capability_words import IMAGE_FORMATS
from qbdcheck.catalogue.history import check_home, default_cache_dir, last_run
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import (
    CustomGuest,
    Execution,
    GuestOptions,
    MutationOptions,
    Options,
    Reports,
    Selection,
    TargetOptions,
)
from qbdcheck.seed import SEED_LIMIT, new_seed

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

CACHE_MODES = ("none", "writeback", "writethrough", "directsync", "unsafe")
AIO_MODES = ("threads", "native", "io_uring")
DIRECT_CACHE_MODES = ("none", "directsync")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SHORT_PATH = 40
"""A longer $TMPDIR leaves too little of the 107 bytes that the path of a Unix socket may have."""

OBSERVED = ("iostat", "blktrace", "blockstats", "backend", "perf")
"""Kinds of --observe; qbdcheck.guest.observers has one method for each."""
NAMED_COMMANDS = ("new", "rules")
"""Subcommands without a dash that take all arguments after them."""
NEEDS_NO_PLACES = ("new", "rules", "doctor", "install", "version")
"""Subcommands that use neither a scratch directory nor the cache."""
EPILOG = """\
selection: 17, 001-100, 12-, or a name; default: the group quick; -l lists all cases
subcommands: new SUITE "SENTENCE"; rules check|explain|convert FILE; replay FILE;
  fio FILE [SIZE]; runtest FILE|GROUP... [SIZE]; --doctor; --install; --probe FILE;
  --mutants [ID...]; -- COMMAND
exit code: 0 all passed; 1 a case failed; 2 wrong usage, set-up error or no case run;
  130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of exiting.

        :raise UsageError: always.
        """
        raise UsageError(message)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help. Unlike argparse, do not hide that it cannot be written."""
        (file or sys.stdout).write(self.format_help())
        sys.stdout.flush()


def parse(argv: Sequence[str]) -> Options:
    """Return the options for the arguments `argv`, with all paths absolute.

    :raise UsageError: a flag or value is wrong; one line.
    """
    argv, command = _split_command(argv)
    if argv and argv[0] in NAMED_COMMANDS:
        return _options(build_parser().parse_args([]), (), argv[0], tuple(argv[1:]))
    parser = build_parser()
    arguments, rest = parser.parse_known_intermixed_args(argv)
    if rest:
        raise UsageError(_unknown_flag(parser, rest[0]))
    if arguments.aio == "native" and arguments.cache not in DIRECT_CACHE_MODES:
        modes = " or ".join(f"-c {mode}" for mode in DIRECT_CACHE_MODES)
        raise UsageError(f"-i native needs {modes}: QEMU refuses aio=native without O_DIRECT")
    subcommand = next((name for name in _FLAG_COMMANDS if getattr(arguments, name)), "")
    extra: tuple[str, ...] = (arguments.probe,) if subcommand == "probe" else ()
    if subcommand != "mutants" and (arguments.knobs or arguments.each_suite):
        flag = "--knobs" if arguments.knobs else "--each-suite"
        raise UsageError(f"{flag} requires --mutants; for one mutant use -t mutant:ID:rate=1000")
    if arguments.selection[:1] in (["replay"], ["fio"], ["runtest"]):
        subcommand, *rest = arguments.selection
        extra = tuple(rest)
    return _options(arguments, command, subcommand, extra)


_FLAG_COMMANDS = ("version", "doctor", "install", "probe", "mutants")


def _split_command(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    listed = list(argv)
    if "--" not in listed:
        return listed, ()
    at = listed.index("--")
    if not listed[at + 1 :]:
        raise UsageError("no command after --")
    return listed[:at], tuple(listed[at + 1 :])


def _unknown_flag(parser: argparse.ArgumentParser, argument: str) -> str:
    flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
    near = difflib.get_close_matches(argument.partition("=")[0], flags, n=1, cutoff=0.5)
    return f"unknown flag {argument}; " + (
        f"did you mean {near[0]}?" if near else "./check --help lists all"
    )


def _number(text: str, name: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {least} ({name})")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 30m, 24h, 2d")
    return float(found[1]) * _UNITS_S[found[2]]


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with 1 <= I <= N, such as 2/3")
    return int(part), int(parts)


def _observed(text: str) -> tuple[str, ...]:
    kinds = OBSERVED if text == "all" else tuple(dict.fromkeys(text.split(",")))
    for kind in kinds:
        if kind not in OBSERVED:
            known = ", ".join(OBSERVED)
            raise argparse.ArgumentTypeError(f"unknown kind {kind!r}; known: {known}, all")
    return kinds


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags; documentation and completion may read it."""
    parser = _Parser(
        prog="./check",
        description="Verifies a QEMU block backend with numbered cases.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_selection(parser.add_argument_group("selection"))
    _add_target(parser.add_argument_group("the target, and how QEMU opens it"))
    _add_guest(parser.add_argument_group("guests"))
    _add_execution(parser.add_argument_group("execution"))
    _add_reports(parser.add_argument_group("reports"))
    _add_others(parser.add_argument_group("instead of running cases"))
    for name in ("suites", "golden", "targets"):
        parser.add_argument(
            f"--{name}-dir", type=_path, default=ROOT / name, help=argparse.SUPPRESS
        )
    return parser


def _add_selection(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("selection", nargs="*", metavar="CASE", help="17, 001-100, 12-, or a name")
    add("-n", "--dry-run", action="store_true", help="show what would run, what not, and why")
    add("-l", "--list", action="store_true", help="list all cases (or those selected) and exit")
    add("-g", dest="groups", action="append", default=[], metavar="A,B",
        help="select the cases of these groups")  # fmt: skip
    add("-x", dest="exclude_groups", action="append", default=[], metavar="A,B",
        help="exclude the cases of these groups")  # fmt: skip
    add("-X", dest="exclude_file", type=_path, metavar="FILE",
        help="exclude the cases in FILE; each line is CASE REASON")  # fmt: skip
    add("-e", dest="exclude_cases", action="append", default=[], metavar="A,B",
        help="exclude these cases; 017=why gives a reason")  # fmt: skip
    add("--start-from", metavar="CASE", help="skip all cases with a lower number")
    add("--resume", action="store_true", help="run the cases that the last run did not finish")
    add("--shard", type=_shard, metavar="I/N", help="run part I of N, split by recorded time")
    add("--turns", action="store_true", help="interleave the suites, to find each bug early")
    add("-r", "--random", action="store_true", help="run in random order, from the seed")


def _add_target(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-t", "--target", metavar="NAME", help="name of a file in targets/, or a path")
    for name in IMAGE_FORMATS:
        add(f"-{name}", dest="formats", action="append_const", const=name,
            help=f"image format {name}")  # fmt: skip
    add("-c", dest="cache", choices=CACHE_MODES, default="writeback", metavar="MODE",
        help=f"cache mode: {', '.join(CACHE_MODES)}")  # fmt: skip
    add("-nocache", dest="cache", action="store_const", const="none", help="the same as -c none")
    add("-i", dest="aio", choices=AIO_MODES, metavar="AIO", help="threads, native or io_uring")
    add("-o", dest="image_options", default="", metavar="OPTS",
        help="options of qemu-img create -o")  # fmt: skip
    add("-gdb", action="store_true",
        help="run QEMU programs under gdbserver ($GDB_OPTIONS), without time limits")  # fmt: skip
    add("-valgrind", action="store_true", help="run QEMU programs under valgrind")
    add("-p", "--print", dest="print_server", action="store_true",
        help="print the output of the servers")  # fmt: skip


def _add_guest(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--guest-image", type=_path, metavar="FILE", help="boot this disk image")
    add("--guest-kernel", type=_path, metavar="FILE", help="boot this kernel")
    add("--guest-initrd", type=_path, metavar="FILE", help="initial RAM disk of the kernel")
    add("--guest-append", default="", metavar="TEXT", help="kernel command line: root=/dev/vda1")
    add("--guest-login", default="", metavar="USER[:PASSWORD]",
        help="log in on the serial console; the default is the guest agent")  # fmt: skip
    add("--observe", type=_observed, default=(), metavar="A,B",
        help=f"record in guests, and summarize: {', '.join(OBSERVED)}, or all")  # fmt: skip
    add("--ltp", type=_path, metavar="PATH", help="an installed LTP: a directory or a tar file")
    add("--kirk", action="store_true", help="use LTP's own runner kirk for ./check runtest")
    add("--soak", type=_duration, default=0.0, metavar="TIME",
        help="repeat the tests of each runtest case for this time: 90s, 30m, 24h")  # fmt: skip


def _add_execution(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-j", dest="lanes", type=lambda text: _number(text, "-j", 1), default=1, metavar="N",
        help="run N cases in parallel, longest first")  # fmt: skip
    add("--depth", type=lambda text: _number(text, "--depth", 1), metavar="N",
        help="longest sequence for cases that try all sequences of operations")  # fmt: skip
    add("--seed", type=lambda text: _number(text, "--seed", 0), metavar="N", help="seed of the run")
    add("--repeat", type=lambda text: _number(text, "--repeat", 1), default=1, metavar="N",
        help="run the selection N times")  # fmt: skip
    add("--until-fail", action="store_true", help="repeat until a case fails")
    add("--timeout", type=_seconds, metavar="S", help="time limit of each case, in seconds")
    add("--suite-timeout", type=_seconds, metavar="S", help="time limit of the run, in seconds")
    add("-d", "--debug", action="store_true", help="print the logs of each case")
    add("--keep", action="store_true", help="keep scratch directories and volumes")
    add("--strict", action="store_true",
        help="fail a case that did not run, unless suites/allowed-not-run.yaml has its reason",
    )  # fmt: skip
    add("--update-golden", action="store_true",
        help="rewrite golden files; the run fails if one changed")  # fmt: skip


def _add_reports(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--tap", action="store_true", help="write TAP 14 to standard output")
    add("--color", choices=("auto", "on", "off"), default="auto", help="auto, on or off")
    for name, what in (
        ("html", "an HTML page of the run"),
        ("junit", "a JUnit XML file"),
        ("json", "a JSON file"),
        ("events", "a live stream of JSON lines"),
    ):
        add(f"--{name}", dest=f"{name}_file", type=_path, metavar="FILE", help=f"write {what}")


def _add_others(group: argparse._ArgumentGroup) -> None:
    one = group.add_mutually_exclusive_group().add_argument
    one("--version", action="store_true", help="print the version and exit")
    one("--doctor", action="store_true",
        help="show what is installed, what is missing, and which cases need it")  # fmt: skip
    one("--install", action="store_true", help="install what is missing, then run the cases")
    one("--tests", action="store_true", help="run the project's own tests with tox")
    one("--probe", metavar="FILE", help="verify every claim of a target profile")
    one("--mutants", action="store_true",
        help="run the cases against seeded bugs: --mutants [ID...] [CASE...] [-g A,B] [-j N]",
    )  # fmt: skip
    add = group.add_argument
    # bootstrap.extras takes it out before this parser sees it; here it is for --help.
    add("--with", dest="with_", metavar="NAME", help="with --install: qbd-driver, or all")
    add("--knobs", default="", metavar="K=V:K=V", help="set knobs of all mutants that have them")
    add("--each-suite", action="store_true",
        help="with --mutants: run each suite until its first kill")  # fmt: skip


def _split(lists: Sequence[str]) -> tuple[str, ...]:
    """Split comma-separated lists into one tuple without empty entries."""
    return tuple(entry.strip() for text in lists for entry in text.split(",") if entry.strip())


def _options(
    given: argparse.Namespace, command: tuple[str, ...], subcommand: str, extra: tuple[str, ...]
) -> Options:
    needs_places = not given.list and subcommand not in NEEDS_NO_PLACES
    cache_dir = default_cache_dir(os.environ)
    if needs_places:
        check_home(os.environ)
    name, formats, seed = given.target, tuple(dict.fromkeys(given.formats or ())), given.seed
    if given.resume and (last := last_run(cache_dir)) is not None:
        name, formats = name or last.target, formats or last.formats
        seed = last.seed if seed is None else seed
    seed = new_seed() if seed is None else seed
    if seed >= SEED_LIMIT:
        raise UsageError(f"--seed {seed} is too large; the largest is {SEED_LIMIT - 1}")
    target = TargetOptions(
        name=name or "reference",
        formats=formats or ("raw",),
        cache=given.cache,
        aio=given.aio,
        image_options=given.image_options,
        gdb=given.gdb,
        valgrind=given.valgrind,
        print_server=given.print_server,
        targets_dir=given.targets_dir.absolute(),
    )
    return Options(
        selection=_selection(given),
        target=target,
        execution=_execution(given, seed, cache_dir, _scratch_parent() if needs_places else None),
        reports=_reports(given),
        guest=GuestOptions(_custom_guest(given), given.observe, _ltp(given.ltp), given.kirk),
        mutation=MutationOptions(given.knobs, given.each_suite),
        dry_run=given.dry_run,
        list_only=given.list,
        command=command,
        subcommand=subcommand,
        arguments=extra,
    )


def _selection(given: argparse.Namespace) -> Selection:
    return Selection(
        arguments=tuple(given.selection),
        groups=_split(given.groups),
        exclude_groups=_split(given.exclude_groups),
        exclude_cases=_split(given.exclude_cases),
        exclude_file=given.exclude_file,
        start_from=given.start_from,
        resume=given.resume,
        shard=given.shard,
        random_order=given.random,
        turns=given.turns,
        suites_dir=given.suites_dir.absolute(),
    )


def _execution(
    given: argparse.Namespace, seed: int, cache_dir: Path, scratch_parent: Path | None
) -> Execution:
    run_id = f"{clock.local_stamp(clock.wall_s())}-{seed % 0x10000:04x}-{os.getpid()}"
    return Execution(
        lanes=given.lanes,
        seed=seed,
        depth=given.depth or 0,
        repeat=given.repeat,
        until_fail=given.until_fail,
        timeout_s=given.timeout,
        suite_timeout_s=given.suite_timeout,
        soak_s=given.soak,
        debug=given.debug,
        keep=given.keep,
        strict=given.strict,
        update_golden=given.update_golden,
        golden_dir=given.golden_dir.absolute(),
        run_id=run_id,
        scratch_root=scratch_parent or Path("/tmp"),
        results_dir=cache_dir / "results" / run_id,
        cache_dir=cache_dir,
    )


def _reports(given: argparse.Namespace) -> Reports:
    return Reports(
        tap=given.tap,
        color=given.color,
        junit_file=given.junit_file,
        json_file=given.json_file,
        html_file=given.html_file,
        events_file=given.events_file,
    )


def _ltp(given: Path | None) -> Path | None:
    path = given or Path(os.environ.get("QBDCHECK_LTP", "")).expanduser()
    if path == Path():
        return None
    if not path.exists():
        raise UsageError(f"--ltp {path}: no such file or directory")
    return path.absolute()


def _custom_guest(given: argparse.Namespace) -> CustomGuest | None:
    files = {
        f"--guest-{name}": getattr(given, f"guest_{name}") for name in ("image", "kernel", "initrd")
    }
    for flag, path in files.items():
        if path is not None and not path.is_file():
            raise UsageError(f"{flag} {path}: no such file")
    image, kernel, initrd = (path.absolute() if path else None for path in files.values())
    if kernel is None and (initrd or given.guest_append):
        raise UsageError("--guest-initrd and --guest-append require --guest-kernel")
    if image is None and kernel is None:
        if given.guest_login:
            raise UsageError("--guest-login requires --guest-image or --guest-kernel")
        return None
    return CustomGuest(image, kernel, initrd, given.guest_append, given.guest_login)


def _scratch_parent() -> Path:
    """Return where to create the run's private directory: $TMPDIR, or /tmp.

    A $TMPDIR that is too long for the paths of sockets is not used.

    :raise UsageError: $TMPDIR is not a directory.
    """
    chosen = Path(os.environ.get("TMPDIR") or "/tmp").absolute()
    if not chosen.is_dir():
        raise UsageError(f"TMPDIR={chosen} is not a directory; set TMPDIR to another one")
    return chosen if len(os.fsencode(chosen)) <= _SHORT_PATH else Path("/tmp")
