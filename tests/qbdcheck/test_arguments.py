"""Flags and values: how they are parsed, and the one-line errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from qbdcheck.argument_types import OBSERVED
from qbdcheck.arguments import parse
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.guest.observers import Observers
from qbdcheck.options import GuestOptions, Reports, Selection


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--cluster local:0", "'local:0' is neither the address of a Dask scheduler"),
        ("--cluster here", "'here' is neither the address of a Dask scheduler"),
        ("--cluster local:2 -j2", "-j counts cases on this machine"),
        ("--cluster local:2 --keep", "--keep works on this machine only"),
        ("--cluster tcp://a:1 -n", "-n works on this machine only"),
        ("--cluster tls://a:1 --update-golden", "--update-golden works on this machine only"),
        ("--cluster a:8786 fio x.fio", "fio works on this machine only"),
        ("--cluster a:8786 -- true", "-- COMMAND works on this machine only"),
    ],
)
def test_what_cannot_run_on_workers_is_refused(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(words.split())


def test_what_is_observed_is_known_to_the_observers() -> None:
    assert parse(["--observe", "perf,iostat,perf"]).guest.observe == ("perf", "iostat")
    assert parse(["--observe", "all"]).guest.observe == OBSERVED
    for kind in OBSERVED:
        assert hasattr(Observers, f"_of_{kind}")
    with pytest.raises(UsageError, match="unknown kind 'dstat'; known: iostat, blktrace"):
        parse(["--observe", "iostat,dstat"])


def test_a_bare_check_has_the_documented_defaults() -> None:
    options = parse([])
    target, execution = options.target, options.execution
    assert (target.name, target.formats, target.cache, target.aio) == (
        "reference", ("raw",), "writeback", None,
    )  # fmt: skip
    assert (execution.lanes, execution.in_order) == (len(os.sched_getaffinity(0)), True)
    assert (execution.repeat, execution.timeout_s) == (1, None)
    assert options.selection == Selection(suites_dir=ROOT / "suites")
    assert options.reports == Reports(results_dir=execution.results_dir)
    assert options.guest == GuestOptions()


@pytest.mark.parametrize("flags", [["-gdb"], ["-valgrind"], ["--mutants"], ["-j1"]])
def test_a_debugger_and_the_kill_matrix_have_one_lane(flags: list[str]) -> None:
    assert parse(flags).execution.lanes == 1


def test_lanes_that_were_asked_for_start_the_longest_case_first() -> None:
    execution = parse(["-j4"]).execution
    assert (execution.lanes, execution.in_order) == (4, False)


def test_flags_of_qemu_iotests_are_taken() -> None:
    options = parse(
        [
            "-qcow2",
            "-raw",
            "-nocache",
            "-i",
            "native",
            "-o",
            "cluster_size=4k",
            "-j4",
            "-d",
            "-p",
            "-gdb",
            "-valgrind",
            "17",
        ]
    )
    target = options.target
    assert target.formats == ("qcow2", "raw")
    assert (target.cache, target.aio, target.image_options) == (
        "none",
        "native",
        "cluster_size=4k",
    )
    assert (options.execution.lanes, options.execution.debug) == (4, True)
    assert (target.print_server, target.gdb, target.valgrind) == (True, True, True)
    assert options.selection.arguments == ("17",)


def test_lists_are_split_at_commas_and_add_up() -> None:
    options = parse(
        ["-g", "rw,quick", "-g", "flush", "-x", "slow", "-e", "017,031=known", "-5", "12-"]
    )
    assert options.selection.groups == ("rw", "quick", "flush")
    assert options.selection.exclude_cases == ("017", "031=known")
    assert options.selection.arguments == ("-5", "12-")


def test_what_follows_two_dashes_is_a_command_of_its_own() -> None:
    options = parse(["-t", "file", "--", "qemu-io", "-c", "read 0 512", "--", "-x"])
    assert options.command == ("qemu-io", "-c", "read 0 512", "--", "-x")


def test_subcommands_are_told_apart() -> None:
    assert (parse(["--doctor"]).subcommand, parse(["--install"]).subcommand) == (
        "doctor",
        "install",
    )
    probe = parse(["--probe", "my.yaml"])
    assert (probe.subcommand, probe.arguments) == ("probe", ("my.yaml",))
    new = parse(["new", "iotests", "discard then crash"])
    assert (new.subcommand, new.arguments) == ("new", ("iotests", "discard then crash"))


def test_a_seed_is_chosen_when_none_is_given() -> None:
    assert parse(["--seed", "7"]).execution.seed == 7
    assert parse([]).execution.seed != parse([]).execution.seed


def test_a_long_tmpdir_is_not_used_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    assert parse([]).execution.scratch_root == Path("/tmp")
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert parse([]).execution.scratch_root == Path("/var/tmp")


def test_the_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x/cache")
    assert parse([]).execution.cache_dir == Path("/x/cache/qbdcheck")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert parse([]).execution.cache_dir == Path(os.environ["HOME"]) / ".cache" / "qbdcheck"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--dryrun", "unknown flag --dryrun; did you mean --dry-run?"),
        ("--hmtl x", "unknown flag --hmtl; did you mean --html?"),
        ("-qcow3", "unknown flag -qcow3; did you mean -qcow2?"),
        ("-j 0", "'0' is not a whole number >= 1"),
        ("-j x", "'x' is not a whole number"),
        ("--timeout 0", "not a number of seconds above 0"),
        ("--timeout nan", "not a number of seconds above 0"),
        ("--seed -1", "--seed"),
        ("--seed 4294967296", "--seed 4294967296 is too large"),
        ("--shard 3/2", "is not I/N"),
        ("--shard 0/2", "is not I/N"),
        ("-c sometimes", "invalid choice: 'sometimes'"),
        ("-i threads2", "invalid choice"),
        ("--repeat", "expected one argument"),
        ("--doctor --install", "not allowed with argument"),
        ("-t file --", "no command after --"),
        ("--html=", "the path is empty"),
        ("--json=", "the path is empty"),
        ("--target=", "argument -t/--target: '' names nothing"),
        ("-g,", "argument -g: ',' names nothing"),
        ("-j 1001", "1001 is too large; at most 1000"),
        ("-o preallocation=full 1", "-o is for image formats, and raw has none of its options"),
        ("--skip-tests /nonexistent 530", "argument --skip-tests: /nonexistent: no such file"),
        ("--knobs a=1", "--knobs requires --mutants"),
        ("--version --doctor", "not allowed with argument"),
    ],
)
def test_a_wrong_flag_or_value_gives_one_line(arguments: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_images_need_an_image_format() -> None:
    for flags in (["-qcow2"], ["-raw", "-qcow2"], ["--last-failed"]):
        assert parse(["-o", "preallocation=full", *flags]).target.image_options


def test_flags_may_stand_between_cases() -> None:
    options = parse(["--mutants", "torn-write", "-j2", "400", "-x", "slow", "420"])
    assert options.selection.arguments == ("torn-write", "400", "420")
    assert (options.execution.lanes, options.selection.exclude_groups) == (2, ("slow",))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("24h", 86400), ("2d", 172800)]
)
def test_a_soak_is_a_time(text: str, seconds: float) -> None:
    assert parse(["--soak", text]).execution.soak_s == seconds
    with pytest.raises(UsageError, match="'0h' is not a duration such as 90s, 30m, 24h"):
        parse(["--soak", "0h"])


def test_a_tmpdir_or_home_that_does_not_exist_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/no/such")
    with pytest.raises(UsageError, match="TMPDIR=/no/such is not a directory; set TMPDIR"):
        parse([])
    assert parse(["-l"]).list_only, "a list needs no scratch directory"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/no/such")
    with pytest.raises(UsageError, match="HOME=/no/such is not a directory; set HOME, or XDG"):
        parse([])
    assert parse(["--version"]).subcommand == "version"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert parse([]).execution.cache_dir == tmp_path / "qbdcheck"
