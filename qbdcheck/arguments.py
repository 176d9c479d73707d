"""The command line of ./check: from words to frozen `Options`."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from qbdcheck import clock
from qbdcheck.catalogue.capability_words import IMAGE_FORMATS
from qbdcheck.catalogue.history import default_cache_dir, last_run
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import CustomGuest, Options
from qbdcheck.seed import SEED_LIMIT, new_seed

CACHE_MODES = ("none", "writeback", "writethrough", "directsync", "unsafe")
AIO_MODES = ("threads", "native", "io_uring")
DIRECT_CACHE_MODES = ("none", "directsync")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SHORT_PATH = 40
"""A longer $TMPDIR leaves too little of the 107 bytes that a Unix socket's path may have."""

OBSERVED = ("iostat", "blktrace", "blockstats", "backend", "perf")
"""Kinds of --observe; qbdcheck.guest.observers has one method for each."""
WORD_COMMANDS = ("new", "rules")
"""Subcommands that are a word, and take all that follows."""
EPILOG = """\
selection: 17, 001-100, 12-, names; nothing means the group quick; ./check -l lists all cases
subcommands: new SUITE "SENTENCE"; rules check|explain|convert FILE; replay FILE;
  fio FILE [SIZE]; runtest FILE|GROUP... [SIZE]; --doctor; --install; --probe FILE;
  --mutants [ID...]; -- COMMAND
exit code: 0 green; 1 a case failed; 2 usage or set-up error, or nothing was run; 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Errors are one line and name the nearest flag."""

    def error(self, message: str) -> NoReturn:
        """:raise UsageError: always."""
        raise UsageError(message)


def parse(words: Sequence[str]) -> Options:
    """The options that `words` ask for, with all paths absolute.

    :raise UsageError: a flag or value is wrong; one line.
    """
    words, command = _split_command(words)
    if words and words[0] in WORD_COMMANDS:
        return _options(build_parser().parse_args([]), (), words[0], tuple(words[1:]))
    parser = build_parser()
    arguments, rest = parser.parse_known_intermixed_args(words)
    if rest:
        raise UsageError(_unknown_flag(parser, rest[0]))
    if arguments.aio == "native" and arguments.cache not in DIRECT_CACHE_MODES:
        modes = " or ".join(f"-c {mode}" for mode in DIRECT_CACHE_MODES)
        raise UsageError(f"-i native needs {modes}: QEMU refuses aio=native without O_DIRECT")
    subcommand = ""
    extra: tuple[str, ...] = ()
    if arguments.doctor or arguments.install or arguments.probe is not None:
        subcommand = "doctor" if arguments.doctor else "install" if arguments.install else "probe"
        extra = (arguments.probe,) if arguments.probe is not None else ()
    if arguments.mutants:
        subcommand = "mutants"
    elif arguments.knobs or arguments.each_suite:
        flag = "--knobs" if arguments.knobs else "--each-suite"
        raise UsageError(f"{flag} is of --mutants; one mutant is -t mutant:ID:rate=1000")
    if arguments.selection[:1] in (["replay"], ["fio"], ["runtest"]):
        subcommand, *rest = arguments.selection
        extra = tuple(rest)
    return _options(arguments, command, subcommand, extra)


def _split_command(words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    listed = list(words)
    if "--" not in listed:
        return listed, ()
    at = listed.index("--")
    if not listed[at + 1 :]:
        raise UsageError("no command after --")
    return listed[:at], tuple(listed[at + 1 :])


def _unknown_flag(parser: argparse.ArgumentParser, word: str) -> str:
    flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
    near = difflib.get_close_matches(word.partition("=")[0], flags, n=1, cutoff=0.5)
    return f"unknown flag {word}; " + (
        f"did you mean {near[0]}?" if near else "./check --help lists all"
    )


def _number(text: str, name: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on ({name})")
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
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 90s, 30m, 24h, 2d")
    return float(found[1]) * _UNITS_S[found[2]]


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
            raise argparse.ArgumentTypeError(f"{kind!r} is none of {known}, all")
    return kinds


def build_parser() -> argparse.ArgumentParser:
    """The parser of all flags; docs and completion may read it."""
    parser = _Parser(
        prog="./check",
        description="Verifies a QEMU block backend with numbered cases.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_selection(parser.add_argument_group("selection"))
    _add_setup(parser.add_argument_group("what is verified, and how it is opened"))
    _add_running(parser.add_argument_group("running"))
    _add_reports(parser.add_argument_group("reports"))
    _add_others(parser.add_argument_group("instead of running cases"))
    for name, usual in (("suites", "suites"), ("golden", "golden"), ("targets", "targets")):
        parser.add_argument(
            f"--{name}-dir", type=Path, default=ROOT / usual, help=argparse.SUPPRESS
        )
    return parser


def _add_selection(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("selection", nargs="*", metavar="CASE", help="17, 001-100, 12-, or a name")
    add("-n", "--dry-run", action="store_true", help="show what would run, and what not, and why")
    add("-l", "--list", action="store_true", help="list ids, groups and sentences")
    add(
        "-g",
        dest="groups",
        action="append",
        default=[],
        metavar="A,B",
        help="cases of these groups",
    )
    add(
        "-x",
        dest="exclude_groups",
        action="append",
        default=[],
        metavar="A,B",
        help="but not of these",
    )
    add(
        "-X", dest="exclude_file", type=Path, metavar="FILE", help="exclude file: CASE REASON lines"
    )
    add(
        "-e",
        dest="exclude_cases",
        action="append",
        default=[],
        metavar="A,B",
        help="exclude these; 017=why gives a reason",
    )
    add("--start-from", metavar="CASE", help="skip what comes before this case")
    add("--resume", action="store_true", help="go on where the last run stopped")
    add("--shard", type=_shard, metavar="I/N", help="run part I of N, split by recorded time")


def _add_setup(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-t", "--target", default=None, metavar="NAME", help="a file in targets/, or a path")
    for name in IMAGE_FORMATS:
        add(
            f"-{name}",
            dest="formats",
            action="append_const",
            const=name,
            help=f"image format {name}",
        )
    add(
        "-c",
        dest="cache",
        choices=CACHE_MODES,
        default="writeback",
        metavar="MODE",
        help="cache mode",
    )
    add("-nocache", dest="cache", action="store_const", const="none", help="the same as -c none")
    add("-i", dest="aio", choices=AIO_MODES, metavar="AIO", help="threads, native or io_uring")
    add(
        "-o", dest="image_options", default="", metavar="OPTS", help="options of qemu-img create -o"
    )
    add(
        "-gdb",
        action="store_true",
        help="QEMU programs under gdbserver ($GDB_OPTIONS); no time limits",
    )
    add("--ltp", type=Path, metavar="PATH", help="an installed LTP, a directory or a tar file")
    add("--kirk", action="store_true", help="of runtest: LTP's own runner kirk runs the groups")
    add("--guest-image", type=Path, metavar="FILE", help="guests boot this disk image")
    add("--guest-kernel", type=Path, metavar="FILE", help="and this kernel")
    add("--guest-initrd", type=Path, metavar="FILE", help="and this initial RAM disk")
    add("--guest-append", default="", metavar="WORDS", help="words for the kernel: root=/dev/vda1")
    add(
        "--guest-login",
        default="",
        metavar="USER[:PASSWORD]",
        help="log in on the serial console; without it the guest agent is asked",
    )
    add("-valgrind", action="store_true", help="QEMU programs under valgrind")


def _add_running(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-j",
        dest="lanes",
        type=lambda text: _number(text, "-j", 1),
        default=1,
        metavar="N",
        help="cases side by side, longest first",
    )
    add("--turns", action="store_true", help="the suites take turns: each kind of bug is early")
    add("-r", "--random", action="store_true", help="random order, from the seed")
    add(
        "--depth",
        type=lambda text: _number(text, "--depth", 1),
        metavar="N",
        help="longest sequence of cases that try all sequences of operations; default: the case's",
    )
    add("--seed", type=lambda text: _number(text, "--seed", 0), metavar="N", help="seed of the run")
    add("--repeat", type=lambda text: _number(text, "--repeat", 1), default=1, metavar="N")
    add("--until-fail", action="store_true", help="repeat until a case fails")
    add("--timeout", type=_seconds, metavar="S", help="time limit of each case, in seconds")
    add(
        "--soak",
        type=_duration,
        default=0.0,
        metavar="TIME",
        help="cases of the group runtest repeat their tests for so long: 90s, 30m, 24h",
    )
    add("--suite-timeout", type=_seconds, metavar="S", help="time limit of the run, in seconds")
    add("-d", "--debug", action="store_true", help="show each case's logs")
    add("-p", "--print", dest="print_server", action="store_true", help="show the servers' output")
    add("--keep", action="store_true", help="keep the scratch directories")
    add(
        "--strict",
        action="store_true",
        help="reasons for 'not run' that suites/allowed-not-run.yaml does not list are failures",
    )
    add(
        "--update-golden",
        action="store_true",
        help="write golden files anew; still fails if one changed",
    )


def _add_reports(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--observe",
        type=_observed,
        default=(),
        metavar="A,B",
        help=f"watch guests: {', '.join(OBSERVED)}, or all; kept in the results, summed up",
    )
    add("--tap", action="store_true", help="TAP 14 on standard output")
    add("--color", choices=("auto", "on", "off"), default="auto", help="auto, on or off")
    add("--html", dest="html_file", type=Path, metavar="FILE", help="a page of the run")
    for name in ("junit", "json", "events"):
        add(f"--{name}", dest=f"{name}_file", type=Path, metavar="FILE")


def _add_others(group: argparse._ArgumentGroup) -> None:
    one = group.add_mutually_exclusive_group().add_argument
    one("--doctor", action="store_true", help="what is installed, what is missing, what that costs")
    one("--install", action="store_true", help="install what --doctor found missing, then go on")
    one(
        "--tests",
        action="store_true",
        help="run this project's own tests by tox",
    )
    one("--probe", metavar="FILE", help="verify every claim of a target profile")
    one(
        "--mutants",
        action="store_true",
        help="run the cases against seeded bugs: --mutants [ID...] [CASE...] [-g A,B] [-j N]",
    )
    add = group.add_argument
    add("--knobs", default="", metavar="K=V:K=V", help="of --mutants: for all that have them")
    add("--each-suite", action="store_true", help="of --mutants: the first kill of each suite")


def _words(lists: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.strip() for text in lists for word in text.split(",") if word.strip())


def _options(
    given: argparse.Namespace, command: tuple[str, ...], subcommand: str, extra: tuple[str, ...]
) -> Options:
    cache_dir = default_cache_dir(os.environ)
    target, formats, seed = given.target, tuple(dict.fromkeys(given.formats or ())), given.seed
    if given.resume and (last := last_run(cache_dir)) is not None:
        target, formats = target or last.target, formats or last.formats
        seed = last.seed if seed is None else seed
    seed = new_seed() if seed is None else seed
    if seed >= SEED_LIMIT:
        raise UsageError(f"--seed {seed} is too large; the largest is {SEED_LIMIT - 1}")
    run_id = f"{clock.local_stamp(clock.wall_s())}-{seed % 0x10000:04x}-{os.getpid()}"
    return Options(
        selection=tuple(given.selection),
        groups=_words(given.groups),
        exclude_groups=_words(given.exclude_groups),
        exclude_cases=_words(given.exclude_cases),
        exclude_file=given.exclude_file,
        start_from=given.start_from,
        resume=given.resume,
        target=target or "reference",
        formats=formats or ("raw",),
        cache=given.cache,
        aio=given.aio,
        image_options=given.image_options,
        lanes=given.lanes,
        random_order=given.random,
        turns=given.turns,
        seed=seed,
        depth=given.depth or 0,
        repeat=given.repeat,
        until_fail=given.until_fail,
        timeout_s=given.timeout,
        suite_timeout_s=given.suite_timeout,
        debug=given.debug,
        print_server=given.print_server,
        gdb=given.gdb,
        valgrind=given.valgrind,
        keep=given.keep,
        strict=given.strict,
        update_golden=given.update_golden,
        dry_run=given.dry_run,
        list_only=given.list,
        tap=given.tap,
        color=given.color,
        junit_file=given.junit_file,
        json_file=given.json_file,
        knobs=given.knobs,
        each_suite=given.each_suite,
        html_file=given.html_file,
        ltp=_ltp(given.ltp),
        kirk=given.kirk,
        soak_s=given.soak,
        observe=given.observe,
        custom_guest=_custom_guest(given),
        events_file=given.events_file,
        shard=given.shard,
        suites_dir=given.suites_dir.absolute(),
        golden_dir=given.golden_dir.absolute(),
        targets_dir=given.targets_dir.absolute(),
        run_id=run_id,
        scratch_root=_scratch_parent(),
        results_dir=cache_dir / "results" / run_id,
        cache_dir=cache_dir,
        command=command,
        subcommand=subcommand,
        arguments=extra,
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
        raise UsageError("--guest-initrd and --guest-append are of --guest-kernel: name one")
    if image is None and kernel is None:
        if given.guest_login:
            raise UsageError("--guest-login is of a --guest-image or a --guest-kernel: name one")
        return None
    return CustomGuest(image, kernel, initrd, given.guest_append, given.guest_login)


def _scratch_parent() -> Path:
    """Where the run's directory will be: $TMPDIR if that is short enough for sockets, else /tmp."""
    chosen = Path(os.environ.get("TMPDIR", tempfile.gettempdir()))
    if chosen.is_absolute() and len(os.fsencode(chosen)) <= _SHORT_PATH and chosen.is_dir():
        return chosen
    return Path("/tmp")
