"""What happens to failures: the first ones, the last ones, retried ones, and known ones."""

from __future__ import annotations

import json
import re

import pexpect

from qbdcheck.files import ROOT
from qbdcheck.seed import case_seed
from tests.meta.toys import Toy

STALE = """
from oracles.damage import Damage
from oracles.finding import Finding, Findings
found = Findings([Finding(Damage.{kind}, 512, 512)])
assert found == []
"""


def test_stop_after_starts_no_further_case(toy: Toy) -> None:
    for number in range(1, 6):
        toy.case(f"00{number}_it", "assert False, 'wrong'" if number in (2, 3) else "pass")
    done = toy.run("--stop-after", "2")
    assert done.code == 1
    assert list(done.cases) == ["001_it", "002_it", "003_it"]
    assert "Stopped (--stop-after: 2 failures) after 3 of 5 cases; 2 failed, 1 passed" in done.out
    assert done.events[-1]["stopped"] == "--stop-after: 2 failures"
    assert "Stopped" not in toy.run("--stop-after", "3").out


def test_budget_starts_no_further_case_after_its_time(toy: Toy) -> None:
    for number in range(1, 6):
        toy.case(f"00{number}_it", "pass")
    (toy.directory / "suites" / "best-first.txt").write_text("004_it\n002_it\n", encoding="utf-8")
    used_up = toy.run("-j1", "--budget", "0.001s")
    assert (used_up.code, list(used_up.cases)) == (0, ["004_it"])
    assert "Stopped (--budget: 0.001 s) after 1 of 5 cases; 1 passed in" in used_up.out
    done = toy.run("-j1", "--budget", "2h")
    assert list(done.cases)[:2] == ["004_it", "002_it"]
    assert (len(done.cases), "Stopped" in done.out) == (5, False)
    assert "--budget: '0s' is not a duration" in toy.run("--budget", "0s").err


def test_last_failed_runs_what_failed_with_its_seed_and_formats(toy: Toy) -> None:
    assert "there is no last run" in toy.run("--last-failed").err
    toy.case("001_it", "pass", formats="any")
    toy.case("002_it", "assert False", formats="any")
    toy.case("003_it", "raise KeyError('x')", formats="any")
    toy.run("-qcow2", "--seed", "77")
    done = toy.run("--last-failed")
    assert [(one["case_id"], one["image_format"], one["seed"]) for one in done.ends] == [
        ("002_it", "qcow2", 77), ("003_it", "qcow2", 77),
    ]  # fmt: skip
    assert list(toy.run("--last-failed", "3").cases) == ["003_it"]
    toy.case("003_it", "pass", formats="any")
    assert toy.run("--last-failed").code == 0
    done = toy.run("--last-failed")
    assert done.code == 2
    assert "no case of the last run failed: nothing to run" in done.err
    assert toy.run("--resume", "--last-failed").code == 2


def test_retry_gives_the_rates_and_the_verdict_stays(toy: Toy) -> None:
    toy.case("001_it", "assert int(seed) % 2, f'drew {int(seed)}'", "seed")
    toy.case("002_it", "assert False, 'always'")
    toy.case("003_it", "pass")
    seed = next(str(number) for number in range(20) if not case_seed(number, "001_it", "raw") % 2)
    report = toy.directory / "run.json"
    junit = toy.directory / "junit.xml"
    done = toy.run("--retry", "8", "--seed", seed, "--json", str(report), "--junit", str(junit))
    assert done.code == 1
    assert [one["verdict"] for one in done.ends] == ["fail", "fail", "pass"]
    first, second = json.loads(report.read_text())["retries"]
    assert (first["failed_same"], first["runs_same"], first["runs_other"]) == (8, 8, 8)
    assert 0 < first["failed_other"] == len(set(first["failing_seeds"])) < 8
    assert (second["failed_same"], second["failed_other"]) == (8, 8)
    again = toy.run("--seed", str(first["failing_seeds"][0]), "1")
    assert again.verdict("001_it") == "fail", "each failing seed repeats its failure"
    assert "002: always (again, alone: failed 8 of 8, with this seed 8 of 8)" in done.out
    assert "again, alone: failed 8 of 8, with this seed 8 of 8" in junit.read_text()
    assert [one["event"] for one in done.events][-3:] == ["case_retried"] * 2 + ["run_ended"]
    assert toy.left_over() == []


def test_known_failures_pass_until_they_change_or_are_gone(toy: Toy) -> None:
    known = toy.directory / "known.yaml"
    flags = ("--baseline", str(known))
    toy.case("001_it", STALE.format(kind="STALE"))
    toy.case("002_it", "assert False, 'line 3 differs'")
    toy.case("003_it", "pass")
    assert toy.run(*flags).code == 2, "the file must exist"
    done = toy.run(*flags, "--update-baseline")
    assert done.code == 1
    assert f"baseline: {known}: 2 known failures (2 new, 0 removed)\n" in done.out
    done = toy.run(*flags)
    assert done.code == 0, done.out
    assert [done.verdict(f"00{number}_it") for number in (1, 2, 3)] == ["known", "known", "pass"]
    assert "Passed 1 of 3 cases, 2 known failures" in done.out
    toy.case("001_it", STALE.format(kind="TORN"))
    toy.case("002_it", "pass")
    done = toy.run(*flags)
    assert (done.code, done.verdict("001_it"), done.verdict("002_it")) == (1, "fail", "fail")
    assert "known failure is gone: update the baseline" in done.cases["002_it"]["message"]
    assert "The baseline of this case has another cause: stale" in done.cases["001_it"]["details"]
    assert "(1 new, 2 removed)" in toy.run(*flags, "--update-baseline").out
    assert toy.run(*flags).code == 0
    assert toy.run("--update-baseline").code == 2


def test_a_broken_case_is_never_known(toy: Toy) -> None:
    known = toy.directory / "known.yaml"
    toy.case("001_it", "raise KeyError('x')")
    toy.run("--baseline", str(known), "--update-baseline")
    done = toy.run("--baseline", str(known))
    assert (done.code, done.verdict("001_it")) == (1, "broken")


def test_known_failures_in_tap_and_junit(toy: Toy) -> None:
    known = toy.directory / "known.yaml"
    toy.case("001_it", "assert False, 'line 3 differs'")
    toy.run("--baseline", str(known), "--update-baseline")
    junit = toy.directory / "junit.xml"
    done = toy.run("--baseline", str(known), "--tap", "--junit", str(junit))
    directive = "TO" + "DO"
    pattern = rf"^not ok 1 - 001_it raw # {directive} known failure since [\d-]+: line 3 differs$"
    assert re.search(pattern, done.out, re.M)
    assert 'failures="0"' in junit.read_text()
    assert 'skipped message="known failure since' in junit.read_text()


def test_on_80_columns_an_interrupted_run_says_so_in_colour(toy: Toy) -> None:
    cause = "the sector holds generation 4 of writer 2, but 7 was flushed and acknowledged before"
    toy.case("001_it", "pass")
    toy.case("002_it", f"assert False, {cause!r}")
    toy.case("003_waits", "import time\ntime.sleep(60)")
    toy.case("004_it", "pass")
    environment = {**toy.environment, "COLUMNS": "80", "LINES": "25", "TERM": "xterm-256color"}
    command, *arguments = toy.argv("1-")
    terminal = pexpect.spawn(
        command, arguments, env=environment, cwd=ROOT, dimensions=(25, 80), encoding="utf-8",
        timeout=60,
    )  # fmt: skip
    terminal.expect("1: 003_waits")
    shown = terminal.before or ""
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    shown += terminal.before or ""
    terminal.close()
    assert terminal.exitstatus == 130
    assert "\x1b[1;31mInterrupted after 2 of 4 cases; 1 failed, 1 passed\x1b[0m" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n")
    lines = plain.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("002  fail"))
    wrapped = " ".join(" ".join(lines[at : at + 4]).split())
    assert cause in wrapped
    block = next(index for index, line in enumerate(lines) if line.startswith("---- 002_it"))
    summary = next(index for index, line in enumerate(lines) if line.startswith("Failures: 002"))
    said = [*lines[at:block], *lines[summary:]]
    whole = ("results: ", "again: ")  # a path and a command are not broken
    assert [one for one in said if len(one) > 80 and not one.strip().startswith(whole)] == []
