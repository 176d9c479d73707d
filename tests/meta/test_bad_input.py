"""Bad input gives one clear line and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.meta.toys import Toy

TARGET = """
name: toy
about: a target that is not right
programs: [qemu-img]
volume:
  create: qemu-img create -f raw {dir}/{name} {size}
start: %s
ready: {socket: "{socket}", within: 1 s}
blockdev: {driver: nbd, server: {type: unix, path: "{socket}"}, export: "{name}"}
nbd: "nbd+unix:///{name}?socket={socket}"
"""


def refused(toy: Toy, *arguments: str) -> str:
    """Return the one line with which ./check refuses `arguments`."""
    done = toy.run(*arguments)
    assert done.code == 2, done.out + done.err
    assert "Traceback" not in done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("check: ")
    assert toy.left_over() == []
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dryrun"], "unknown flag --dryrun; did you mean --dry-run?"),
        (["-qcow3"], "unknown flag -qcow3; did you mean -qcow2?"),
        (["-i", "native"], "-i native needs -c none or -c directsync"),
        (["998"], "no case 998; nearest: 001"),
        (["5-9"], "no case in 5-9; nearest: 001"),
        (["nonsense"], "no case named 'nonsense'"),
        (["-g", "quik"], "unknown group 'quik'; did you mean quick"),
        (["-g", "slow"], "nothing to run"),
        (["-e", "1"], "nothing to run: all selected cases are excluded"),
        (["-X", "/no/such/file"], "exclude file /no/such/file: No such file or directory"),
        (["--start-from", "7"], "no case 007"),
        (["--resume"], "there is no last run to resume"),
        (["-t", "nosuch"], "unknown target 'nosuch'"),
        (["-t", "/no/such.yaml"], "/no/such.yaml"),
        (["--junit", "/no/such/dir/x.xml"], "cannot write report /no/such/dir/x.xml"),
    ],
)
def test_a_wrong_argument_is_refused(toy: Toy, arguments: list[str], message: str) -> None:
    toy.case("001_passes", "pass")
    assert message in refused(toy, *arguments)


def test_two_cases_with_one_number_are_refused(toy: Toy) -> None:
    toy.case("001_one", "pass")
    toy.case("001_two", "pass")
    assert "two cases have the number 001: 001_one.py and 001_two.py" in refused(toy)


@pytest.mark.parametrize("content", ["- a list\n", "rw: [1]\n", "a: {\n", "\xff"])
def test_a_damaged_list_of_groups_is_refused(toy: Toy, content: str) -> None:
    toy.case("001_passes", "pass")
    (toy.suites / "groups.yaml").write_text(content, encoding="latin-1")
    assert "groups.yaml" in refused(toy)


def test_a_case_with_an_unknown_group_is_broken_and_names_the_known_ones(toy: Toy) -> None:
    toy.case("001_typo", "pass", groups="quick rx")
    done = toy.run()
    assert (done.code, done.verdict("001_typo")) == (1, "broken")
    assert "unknown group 'rx'; known: disabled quick rw slow" in done.cases["001_typo"]["message"]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("sh -c 'echo no such volume >&2; exit 3'", "no such volume"),
        ("sleep 614.5", "1 s"),
        ("no-such-server --socket {socket}", "no-such-server"),
    ],
)
def test_a_target_that_does_not_start_ends_the_run_before_its_first_case(
    toy: Toy, start: str, message: str
) -> None:
    toy.case("001_passes", "pass")
    profile = toy.directory / "toy.yaml"
    profile.write_text(TARGET % start)
    assert message in refused(toy, "-t", str(profile))


def test_a_qemu_that_is_too_old_is_refused(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    old = toy.directory / "qemu-img"
    old.write_text("#!/bin/sh\necho 'qemu-img version 5.2.0 (Debian 1:5.2+dfsg-11)'\n")
    old.chmod(0o755)
    toy.environment["QEMU_IMG_PROG"] = str(old)
    message = refused(toy)
    assert message.startswith(
        f"check: {old} is too old: 5.2.0, needed is 6.0 or newer; set $QEMU_IMG_PROG"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system of its own")
def test_a_full_disk_makes_a_case_broken_not_failed(toy: Toy) -> None:
    toy.case("001_fills_in_setup", "pass", "disk")
    toy.case("002_fills", "open('x', 'wb').write(bytes(1 << 24))")
    small = toy.temporary / "small"
    small.mkdir()
    before = toy.environment["TMPDIR"]
    toy.environment["TMPDIR"] = str(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12M", "none", small], check=True)
    try:
        first, second = toy.run("1"), toy.run("2")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
        toy.environment["TMPDIR"] = before
    fix = f"{small} is full: set TMPDIR to a larger directory"
    assert first.code == 2, first.out
    assert first.err.splitlines()[-1].startswith("check: prefill of volume disk failed: ")
    assert first.err.splitlines()[-1].endswith(fix)
    assert (second.code, second.verdict("002_fills")) == (1, "broken")
    assert second.cases["002_fills"]["message"].endswith(fix)


def test_a_wrong_key_of_a_profile_is_refused_with_its_line(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    profile = toy.directory / "toy.yaml"
    profile.write_text(TARGET.replace("ready:", "redy:") % "sleep 1")
    assert "redy" in refused(toy, "-t", str(profile))


def test_an_unwritable_scratch_directory_is_refused(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    temporary = toy.environment["TMPDIR"]
    toy.environment["TMPDIR"] = "/proc"
    done = toy.run()
    toy.environment["TMPDIR"] = temporary
    assert done.code == 2
    assert done.err.startswith("check: cannot create a scratch directory in /proc: ")
    assert done.err.count("\n") == 1


def test_a_missing_golden_file_is_reported_before_the_run(toy: Toy) -> None:
    toy.case("001_prints", "golden('one')", "golden")
    toy.case("002_passes", "pass")
    message = refused(toy)
    assert str(toy.golden / "001_prints.out") in message
    assert "./check --update-golden 001 writes it" in message
    assert toy.run("2").code == 0, "a missing golden of another case does not matter"


def test_a_merge_conflict_in_a_golden_file_is_reported_before_the_run(toy: Toy) -> None:
    toy.case("001_prints", "golden('one')", "golden")
    conflict = toy.golden / "001_prints.qcow2.out"
    conflict.write_text("zero\n<<<<<<< a\none\n=======\n>>>>>>> b\n")
    (toy.golden / "001_prints.out").write_text("one\n")
    assert f"{conflict}:2: golden file has a merge conflict; resolve it" in refused(toy)


def test_a_golden_file_with_a_longer_name_belongs_to_another_case(toy: Toy) -> None:
    toy.case("001_prints", "golden('one')", "golden")
    (toy.golden / "001_prints_more.out").write_text("one\n")
    assert "no such golden file" in refused(toy)
