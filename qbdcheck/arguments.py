"""The command line of ./check: from arguments to frozen `Options`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qbdcheck import clock, command_help, config_file, perf_arguments
from qbdcheck.argument_parser import Parser
from qbdcheck.argument_types import (
    OBSERVED,
    check_cluster_flags,
    cluster_address,
    comma_list,
    duration,
    file_of,
    lanes,
    lanes_by_default,
    ltp_tree,
    number,
    observed_kinds,
    path_of,
    seconds,
    shard,
    word,
)
from qbdcheck.bootstrap.extras import EXTRAS
from qbdcheck.catalogue.capability_words import IMAGE_FORMATS
from qbdcheck.catalogue.history import check_home, default_cache_dir, last_run
from qbdcheck.command_help import NAMED_COMMANDS, ON_SAVED_RUNS, WITH_FLAGS
from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND, INSTALLED, ROOT
from qbdcheck.options import (
    CertificateOptions,
    CustomGuest,
    Execution,
    GuestOptions,
    MutationOptions,
    Options,
    PerfOptions,
    Reports,
    Selection,
    TargetOptions,
)
from qbdcheck.seed import SEED_LIMIT, new_seed

CACHE_MODES = ("none", "writeback", "writethrough", "directsync", "unsafe")
AIO_MODES = ("threads", "native", "io_uring")
DIRECT_CACHE_MODES = ("none", "directsync")
_SHORT_PATH = 40
"""A longer $TMPDIR leaves too little of the 107 bytes that the path of a Unix socket may have."""
NEEDS_NO_PLACES = (*NAMED_COMMANDS, "doctor", "install", "version", "help")
"""Subcommands that use neither a scratch directory nor the cache."""
_NEEDS_CHECKOUT = "{} writes into a checkout; git clone the project and use ./check there"


def parse(argv: Sequence[str]) -> Options:
    """Return the options for the arguments `argv`, with all paths absolute.

    :raise UsageError: a flag or value is wrong; one line.
    """
    argv, command = _split_command(argv)
    parser = build_parser()
    if topic := command_help.topic_of(argv):
        return _options(parser.parse_args([]), (), "help", (topic,))
    perf = PerfOptions()
    if argv and argv[0] == "perf":
        perf, rest = perf_arguments.split(argv[1:])
        argv = ["perf", *rest]
    if argv and argv[0] in NAMED_COMMANDS:
        if INSTALLED and argv[0] == "new":
            raise UsageError(_NEEDS_CHECKOUT.format("new"))
        arguments = parser.parse_args([])
        if argv[0] in ON_SAVED_RUNS:
            config_file.apply(config_file.find(Path.cwd()), None, parser, [], arguments)
        return _options(arguments, (), argv[0], tuple(argv[1:]))
    arguments, rest = parser.parse_known_intermixed_args(argv)
    if rest:
        raise UsageError(parser.unknown_flag(rest[0]))
    if not arguments.no_config:
        file = config_file.find(Path.cwd())
        config_file.apply(file, arguments.env, parser, argv, arguments)
    elif arguments.env is not None:
        raise UsageError("--no-config and --env exclude each other")
    subcommand = next((name for name in _FLAG_COMMANDS if getattr(arguments, name)), "")
    extra: tuple[str, ...] = (arguments.probe,) if subcommand == "probe" else ()
    _check_combination(arguments)
    if arguments.selection and arguments.selection[0] in WITH_FLAGS:
        subcommand, *rest = arguments.selection
        extra = tuple(rest)
    if subcommand == "certify":
        arguments.selection, extra = rest or ["1-"][: not arguments.groups], ()
    elif arguments.key or arguments.compare:
        raise UsageError(f"{'--key' if arguments.key else '--compare'} belongs to ./check certify")
    check_cluster_flags(arguments, subcommand, command)
    return replace(_options(arguments, command, subcommand, extra), perf=perf)


def _check_combination(arguments: argparse.Namespace) -> None:
    """Refuse flags that need others, or exclude them.

    :raise UsageError: it names the flags.
    """
    if arguments.aio == "native" and arguments.cache not in DIRECT_CACHE_MODES:
        modes = " or ".join(f"-c {mode}" for mode in DIRECT_CACHE_MODES)
        raise UsageError(f"-i native needs {modes}: QEMU refuses aio=native without O_DIRECT")
    if INSTALLED and arguments.update_golden and arguments.golden_dir == ROOT / "golden":
        raise UsageError(_NEEDS_CHECKOUT.format("--update-golden"))
    if arguments.update_baseline and arguments.baseline is None:
        raise UsageError("--update-baseline requires --baseline FILE")
    of_last_run = arguments.resume or arguments.last_failed
    if arguments.image_options and not of_last_run and set(arguments.formats or ()) <= {"raw"}:
        raise UsageError("-o is for image formats, and raw has none of its options: add -qcow2")
    if arguments.resume and arguments.last_failed:
        raise UsageError("--resume and --last-failed exclude each other")
    if arguments.stress and not arguments.probe:
        raise UsageError("--stress requires --probe FILE")
    of_mutants = ("knobs", "each_suite", "controls", "fingerprints", "combinations")
    given = next((name for name in of_mutants if getattr(arguments, name)), "")
    if given and not arguments.mutants:
        flag = f"--{given.replace('_', '-')}"
        raise UsageError(f"{flag} requires --mutants; for one mutant use -t mutant:ID:rate=1000")


_FLAG_COMMANDS = ("version", "doctor", "install", "probe", "mutants")


def _split_command(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    listed = list(argv)
    if "--" not in listed:
        return listed, ()
    at = listed.index("--")
    if not listed[at + 1 :]:
        raise UsageError("no command after --")
    return listed[:at], tuple(listed[at + 1 :])


def build_parser() -> Parser:
    """Return the parser of all flags; documentation and completion may read it."""
    parser = Parser(
        prog=COMMAND,
        usage=f"{COMMAND} [FLAG...] [CASE...]\n       {COMMAND} SUBCOMMAND [ARGUMENT...]",
        description="Verifies a QEMU block backend with numbered cases.",
        epilog=command_help.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_selection(parser.add_argument_group("selection"))
    _add_target(parser.add_argument_group("the target, and how QEMU opens it"))
    _add_guest(parser.add_argument_group("guests"))
    _add_execution(parser.add_argument_group("execution"))
    _add_reports(parser.add_argument_group("reports"))
    _add_defaults(parser.add_argument_group("default flags: .qbdcheck.toml, pyproject.toml"))
    _add_others(parser.add_argument_group("instead of running cases"))
    for name in ("suites", "golden", "targets"):
        parser.add_argument(
            f"--{name}-dir", type=path_of, default=ROOT / name, help=argparse.SUPPRESS
        )
    return parser


def _add_selection(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("selection", nargs="*", metavar="CASE", help="17, 001-100, 12-, or a name")
    add("-n", "--dry-run", action="store_true", help="show what would run, what not, and why")
    add("-l", "--list", action="store_true", help="list all cases (or those selected) and exit")
    add("-g", dest="groups", action="append", type=word, default=[], metavar="A,B",
        help="select the cases of these groups")  # fmt: skip
    add("-x", dest="exclude_groups", action="append", type=word, default=[], metavar="A,B",
        help="exclude the cases of these groups")  # fmt: skip
    add("-X", dest="exclude_file", type=path_of, metavar="FILE",
        help="exclude the cases in FILE; each line is CASE REASON")  # fmt: skip
    add("-e", dest="exclude_cases", action="append", type=word, default=[], metavar="A,B",
        help="exclude these cases; 017=why gives a reason")  # fmt: skip
    add("--start-from", metavar="CASE", help="skip all cases with a lower number")
    add("--resume", action="store_true", help="run the cases that the last run did not finish")
    add("--last-failed", action="store_true", help="run the cases that failed in the last run")
    add("--shard", type=shard, metavar="I/N",
        help="run part I of N, split by the times in suites/durations.json")  # fmt: skip
    add("--turns", action="store_true", help="interleave the suites, to find each bug early")
    add("--best-first", action="store_true",
        help="begin with the cases that find the most bugs per second")  # fmt: skip
    add("-r", "--random", action="store_true", help="run in random order, from the seed")


def _add_target(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-t", "--target", type=word, metavar="NAME", help="name of a file in targets/, or a path")
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
    add("--guest-image", type=path_of, metavar="FILE", help="boot this disk image")
    add("--guest-kernel", type=path_of, metavar="FILE", help="boot this kernel")
    add("--guest-initrd", type=path_of, metavar="FILE", help="initial RAM disk of the kernel")
    add("--guest-append", default="", metavar="TEXT", help="kernel command line: root=/dev/vda1")
    add("--guest-login", default="", metavar="USER[:PASSWORD]",
        help="log in on the serial console; the default is the guest agent")  # fmt: skip
    add("--observe", type=observed_kinds, default=(), metavar="A,B",
        help=f"record in guests, and summarize: {', '.join(OBSERVED)}, or all")  # fmt: skip
    add("--ltp", type=path_of, metavar="PATH", help="an installed LTP: a directory or a tar file")
    add("--only-tests", type=comma_list, default=(), metavar="A,B",
        help="run only these tests of LTP and runtest files: dio0*,aio01")  # fmt: skip
    add("--skip-tests", type=file_of, metavar="FILE",
        help="do not run the tests that FILE lists, one NAME [REASON] a line")  # fmt: skip
    add("--kirk", action="store_true", help="use LTP's own runner kirk for ./check runtest")
    add("--soak", type=duration, default=0.0, metavar="TIME",
        help="repeat the tests of each runtest case for this time: 90s, 30m, 24h")  # fmt: skip


def _add_execution(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("-j", dest="lanes", type=lanes, metavar="N",
        help="run N cases in parallel, longest first; default: one a core, in order")  # fmt: skip
    add("--cluster", type=cluster_address, metavar="ADDRESS|local:N",
        help="run on the workers of a Dask scheduler, or on N workers of this machine")  # fmt: skip
    add("--depth", type=lambda text: number(text, 1), metavar="N",
        help="longest sequence for cases that try all sequences of operations")  # fmt: skip
    add("--headers", choices=("simple", "structured", "extended"), default="",
        help="headers on which the raw NBD connections of cases agree")  # fmt: skip
    add("--seed", type=lambda text: number(text, 0), metavar="N", help="seed of the run")
    add("--repeat", type=lambda text: number(text, 1), default=1, metavar="N",
        help="run the selection N times")  # fmt: skip
    add("--until-fail", action="store_true", help="repeat until a case fails")
    add("--stop-after", type=lambda text: number(text, 1), default=0,
        metavar="N", help="start no further case after N failures")  # fmt: skip
    add("--budget", type=duration, default=0.0, metavar="TIME",
        help="start no further case after TIME (15s, 2m); implies --best-first")  # fmt: skip
    add("--retry", type=lambda text: number(text, 1), default=0, metavar="N",
        help="run failed cases again alone: N times with their seed, N times with others",
    )  # fmt: skip
    add(
        "--experiments",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="play failures again on fresh volumes, to find their conditions; with a page: on",
    )
    add("--baseline", type=path_of, metavar="FILE",
        help="failures that FILE lists are known: they do not fail the run")  # fmt: skip
    add("--update-baseline", action="store_true", help="write the failures of the run to FILE")
    add("--timeout", type=seconds, metavar="S", help="time limit of each case, in seconds")
    add("--suite-timeout", type=seconds, metavar="S", help="time limit of the run, in seconds")
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
        ("bundle", "a zip file: the page, logs, scripts, JSON, events"),
        ("junit", "a JUnit XML file"),
        ("json", "a JSON file"),
        ("events", "a live stream of JSON lines"),
    ):
        add(f"--{name}", dest=f"{name}_file", type=path_of, metavar="FILE",
            help=f"write {what}")  # fmt: skip
    add("--github", action="store_true",
        help="write annotations and the step summary of GitHub Actions")  # fmt: skip
    add("--durations", type=lambda text: number(text, 0), metavar="N",
        help="list the N slowest cases; 0: all")  # fmt: skip
    add("--results", type=path_of, metavar="DIR",
        help="leave the results of the run in DIR/ID; default: the user's cache")  # fmt: skip


def _add_defaults(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--env", metavar="NAME", help="add the flags of [env.NAME] in the file")
    add("--no-config", action="store_true", help="do not read the file")


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
    add("--stress", action="store_true",
        help="with --probe: many connections, deep queues, limits of sizes")  # fmt: skip
    # bootstrap.extras takes it out before this parser sees it; here it is for --help.
    add("--with", dest="with_", metavar="NAME",
        help=f"with --install: {', '.join(EXTRAS)}, or all")  # fmt: skip
    add("--knobs", default="", metavar="K=V:K=V", help="set knobs of all mutants that have them")
    add("--controls", action="store_true",
        help="with --mutants: legal oddities, alone and combined")  # fmt: skip
    add("--combinations", type=lambda text: number(text, 1), metavar="N",
        help="with --controls: N random combinations of the seed instead")  # fmt: skip
    add("--key", type=path_of, metavar="FILE",
        help="with certify: the ed25519 key (PEM); default: one of the user's own")  # fmt: skip
    add("--compare", type=path_of, nargs=2, default=(), metavar="FILE",
        help="with certify: compare two certificates")  # fmt: skip
    add("--each-suite", action="store_true",
        help="with --mutants: run each suite until its first kill")  # fmt: skip
    add("--fingerprints", type=Path, metavar="FILE",
        help="with --mutants: run all cases on each, and write which fail and how; --repeat N"
             " takes N samples with different seeds; an existing FILE is continued")  # fmt: skip


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
    if (given.resume or given.last_failed) and (last := last_run(cache_dir)) is not None:
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
    scratch = scratch_parent() if needs_places else None
    execution = _execution(given, seed, cache_dir, scratch)
    return Options(
        selection=_selection(given),
        target=target,
        execution=execution,
        reports=_reports(given, execution.results_dir),
        guest=GuestOptions(
            _custom_guest(given),
            given.observe,
            ltp_tree(given.ltp),
            given.kirk,
            given.only_tests,
            given.skip_tests,
        ),
        mutation=MutationOptions(
            given.knobs,
            given.each_suite,
            given.controls,
            given.combinations or 0,
            given.fingerprints,
            1 if given.seed is None else given.seed,
        ),
        certificate=CertificateOptions(given.key, tuple(given.compare)),
        cluster=given.cluster or "",
        dry_run=given.dry_run,
        stress=given.stress,
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
        last_failed=given.last_failed,
        shard=given.shard,
        random_order=given.random,
        turns=given.turns,
        best_first=given.best_first or given.budget > 0,
        suites_dir=given.suites_dir.absolute(),
    )


def _execution(
    given: argparse.Namespace, seed: int, cache_dir: Path, scratch: Path | None
) -> Execution:
    run_id = f"{clock.local_stamp(clock.wall_s())}-{seed % 0x10000:04x}-{os.getpid()}"
    return Execution(
        lanes=2 if given.cluster else given.lanes or lanes_by_default(given),
        in_order=given.lanes is None and not given.cluster,
        seed=seed,
        depth=given.depth or 0,
        headers=given.headers,
        repeat=given.repeat,
        until_fail=given.until_fail,
        stop_after=given.stop_after,
        budget_s=given.budget,
        retry=given.retry,
        experiments=_experiments(given),
        baseline=given.baseline and given.baseline.absolute(),
        update_baseline=given.update_baseline,
        timeout_s=given.timeout,
        suite_timeout_s=given.suite_timeout,
        soak_s=given.soak,
        debug=given.debug,
        keep=given.keep,
        strict=given.strict,
        update_golden=given.update_golden,
        golden_dir=given.golden_dir.absolute(),
        run_id=run_id,
        scratch_root=scratch or Path("/tmp"),
        results_dir=(given.results or cache_dir / "results").absolute() / run_id,
        cache_dir=cache_dir,
    )


def _experiments(given: argparse.Namespace) -> bool:
    """Return whether there are experiments: as asked for, or if a page is wanted."""
    if given.experiments is None:
        return given.html_file is not None or given.bundle_file is not None
    return bool(given.experiments)


def _reports(given: argparse.Namespace, results_dir: Path) -> Reports:
    return Reports(
        tap=given.tap,
        color=given.color,
        junit_file=given.junit_file,
        json_file=given.json_file,
        html_file=given.html_file,
        bundle_file=given.bundle_file,
        events_file=given.events_file,
        github=given.github,
        durations=given.durations,
        results_dir=results_dir,
        results_chosen=given.results is not None,
    )


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


def scratch_parent() -> Path:
    """Return where to create the run's private directory: $TMPDIR, or /tmp.

    A $TMPDIR that is too long for the paths of sockets is not used.

    :raise UsageError: $TMPDIR is not a directory.
    """
    chosen = Path(os.environ.get("TMPDIR") or "/tmp").absolute()
    if not chosen.is_dir():
        raise UsageError(f"TMPDIR={chosen} is not a directory; set TMPDIR to another one")
    return chosen if len(os.fsencode(chosen)) <= _SHORT_PATH else Path("/tmp")
