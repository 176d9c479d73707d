"""Whole runs: goldens, order, repetition, shards, lists."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qbdcheck.files import ROOT
from tests.meta.toys import Toy


def test_output_must_equal_the_golden_file_or_the_case_fails_with_a_diff(toy: Toy) -> None:
    toy.case("001_prints", "golden('one')\ngolden('two')", "golden")
    toy.case("002_prints", "golden('one')", "golden")
    toy.case("004_silent", "pass")
    toy.case("005_should_print", "pass", "golden")
    (toy.golden / "001_prints.out").write_text("one\ntwo\n")
    (toy.golden / "002_prints.out").write_text("other\n")
    (toy.golden / "005_should_print.out").write_text("text\n")
    done = toy.run()
    verdicts = [done.verdict(case_id) for case_id in sorted(done.cases)]
    assert verdicts == ["pass", "fail", "pass", "fail"]
    assert "-other\n+one" in done.cases["002_prints"]["details"]
    bad = [path for path in done.cases["002_prints"]["artefacts"] if path.endswith(".bad")]
    assert len(bad) == 1
    assert not list(toy.golden.glob("*.bad"))


def test_variants_of_goldens_follow_format_and_cache_mode(toy: Toy) -> None:
    toy.case("001_prints", "golden('plain')", "golden", formats="any")
    (toy.golden / "001_prints.out").write_text("plain\n")
    (toy.golden / "001_prints.qcow2.nocache.out").write_text("other\n")
    assert toy.run("-qcow2").code == 0
    assert toy.run("-nocache").code == 0
    assert toy.run("-qcow2", "-nocache").code == 1


def test_update_golden_writes_the_file_and_fails_the_run_once(toy: Toy) -> None:
    toy.case("001_prints", "golden('one')", "golden")
    done = toy.run("--update-golden")
    assert done.code == 1
    assert "wrote new golden file 001_prints.out" in done.cases["001_prints"]["message"]
    assert (toy.golden / "001_prints.out").read_text() == "one\n"
    assert toy.run("--update-golden").code == 0


def test_a_case_that_fails_does_not_reach_its_golden_comparison(toy: Toy) -> None:
    toy.case("001_prints", "golden('one')\nassert False, 'the true cause'", "golden")
    done = toy.run("--update-golden")
    assert done.cases["001_prints"]["message"] == "the true cause"
    assert not (toy.golden / "001_prints.out").exists()


def test_several_lanes_start_the_longest_case_first(toy: Toy) -> None:
    for number, seconds in ((1, 0), (2, 0.3), (3, 0.6)):
        toy.case(f"00{number}_sleeps", f"import time\ntime.sleep({seconds})")
    toy.run()
    done = toy.run("-j2")
    started = [one["case_id"] for one in done.events if "lane" in one]
    assert started == ["003_sleeps", "002_sleeps", "001_sleeps"]
    assert {one["lane"] for one in done.events if "lane" in one} == {0, 1}


def test_random_order_comes_from_the_seed(toy: Toy) -> None:
    for number in range(1, 9):
        toy.case(f"00{number}_passes", "pass")
    one, same, other = (list(toy.run("-r", "--seed", seed).cases) for seed in ("1", "1", "2"))
    assert one == same
    assert one != other
    assert sorted(one) == sorted(other) != one


def test_repetitions_have_their_own_seeds_and_the_printed_one_repeats_the_failure(toy: Toy) -> None:
    toy.case("001_draws", "assert int(seed) % 3 != 0, f'drew {int(seed)}'", "seed")
    done = toy.run("--until-fail", "--seed", "5")
    assert done.code == 1
    assert [one["verdict"].lower() for one in done.ends][-1] == "fail"
    assert len({one["seed"] for one in done.ends}) == len(done.ends)
    last = done.ends[-1]
    again = toy.run("--seed", str(last["seed"]), "1")
    assert again.cases["001_draws"]["message"] == last["message"]
    assert len(toy.run("--repeat", "3", "--seed", "5").ends) == 3


def test_shards_are_disjoint_and_complete(toy: Toy) -> None:
    for number in range(1, 8):
        toy.case(f"00{number}_passes", "pass")
    parts = [set(toy.run("--shard", f"{part}/3").cases) for part in (1, 2, 3)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 7
    assert toy.run("--shard", "8/8").code == 2


def test_shards_are_balanced_by_the_durations_that_all_of_them_share(toy: Toy) -> None:
    for number in range(1, 5):
        toy.case(f"00{number}_passes", "pass")
    (toy.suites / "durations.json").write_text('{"002_passes": {"elapsed_s": 30}}')
    assert list(toy.run("--shard", "1/2").cases) == ["002_passes"]
    assert len(toy.run("--shard", "2/2").cases) == 3


def test_excluded_cases_are_reported_with_their_reasons(toy: Toy) -> None:
    for number in range(1, 6):
        toy.case(f"00{number}_passes", "pass")
    (toy.directory / "known.txt").write_text("2 hangs on tmpfs\n")
    toy.environment["QBDCHECK_SKIP"] = "4 nbdkit:1 file:001"
    done = toy.run("1-", "-X", str(toy.directory / "known.txt"), "-e", "3=slow")
    assert done.cases["002_passes"]["reasons"] == ["excluded by known.txt: hangs on tmpfs"]
    assert done.cases["003_passes"]["reasons"] == ["excluded by -e: slow"]
    assert done.cases["004_passes"]["reasons"] == ["excluded by QBDCHECK_SKIP"]
    assert done.verdict("001_passes") == "not run"
    assert (done.code, done.verdict("005_passes")) == (0, "pass")


def test_a_dry_run_lists_what_would_run_and_why_the_rest_would_not(toy: Toy) -> None:
    toy.case("001_passes", "raise SystemError('it ran')")
    toy.case("002_needs", "pass", requires="control")
    done = toy.run("-n", "-e", "1=known")
    assert done.code == 0
    assert "001  raw        not run  excluded by -e: known" in done.out
    assert "002  raw        not run  target lacks control" in done.out
    assert "would run  001_passes" in toy.run("-n").out


def test_a_list_needs_neither_imports_nor_the_target(toy: Toy) -> None:
    path = toy.case("001_passes", "pass", groups="slow rw")
    path.write_text(path.read_text().replace("from", "import no_such\nfrom", 1))
    done = toy.run("-l", "-t", "nosuch", "1-")
    assert done.out == "001_passes  [slow rw]  001_passes does as it should\n"
    assert done.code == 0


def test_a_command_runs_on_a_started_target_and_its_exit_code_is_passed_on(toy: Toy) -> None:
    done = toy.run("--", "sh", "-c", 'qemu-io -c "read 0 512" "$QBDCHECK_FILENAME" && exit 7')
    assert (done.code, "read 512/512 bytes" in done.out) == (7, True)
    assert toy.run("--", "nosuchcommand").code == 127
    assert toy.left_over() == []


@pytest.mark.parametrize("flags", [[], ["-qcow2", "-raw"]])
def test_plain_pytest_gives_the_same_verdicts(toy: Toy, flags: list[str]) -> None:
    toy.case("001_passes", "golden('one')", "golden", formats="any")
    (toy.golden / "001_passes.out").write_text("one\n")
    toy.case("002_fails", "assert 1 == 2")
    toy.case("003_dies", "import os\nos.abort()")
    toy.case("004_not", "from qbdcheck.kit import NotRun\nraise NotRun('no disk')")
    check = ["-t", "file", "--suites-dir", str(toy.suites), "--golden-dir", str(toy.golden), *flags]
    junit = toy.directory / "pytest.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "qbdcheck.plugin", "-p", "no:cacheprovider", "-rA",
         "-c", str(ROOT / "pyproject.toml"), f"--junit-xml={junit}", f"--check={' '.join(check)}",
         str(toy.suites)],
        env=toy.environment, cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    more = len(flags) // 2
    assert f"2 failed, {1 + more} passed, {1 + 3 * more} skipped" in done.stdout, done.stdout
    assert "the case's process died by SIGABRT" in done.stdout
    assert "qbdcheck: target file" in done.stdout
    assert junit.read_text().count("<failure") == 2
    assert toy.left_over() == []


def test_debug_shows_the_log_of_a_case_and_its_qemu_io_commands(toy: Toy) -> None:
    toy.case(
        "001_logs",
        "log('a remark')\nwith qemu_io(disk) as io:\n    io('read 512 1k')",
        "disk, qemu_io, log",
    )
    shown = toy.run("-d").err
    assert "==== 001_logs.raw: logs\na remark\n-- qemu-io.0.log\n" in shown
    assert "qemu-io> read 512 1k\nread 1024/1024 bytes at offset 512\n" in shown
    assert "qemu-io>" not in toy.run("-p").err


def test_reports_name_a_target_by_its_profile_and_never_by_a_path(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    profile = toy.directory / "some-file.yaml"
    text = (ROOT / "targets/file.yaml").read_text()
    profile.write_text(text.replace("name: file", "name: my-name", 1))
    done = toy.run("-t", str(profile), "--json", str(toy.directory / "run.json"))
    assert done.code == 0, done.out
    assert json.loads((toy.directory / "run.json").read_text())["run"]["target"] == "my-name"
    assert str(profile) not in done.out
