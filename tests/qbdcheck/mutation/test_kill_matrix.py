"""`./check --mutants` from the command line: real runs against real mutants."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mutants.catalogue import catalogue
from qbdcheck.arguments import parse
from qbdcheck.files import ROOT
from qbdcheck.mutation import kill_matrix


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qbdcheck", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_mutant_is_killed_and_a_control_is_not(tmp_path: Path) -> None:
    report = tmp_path / "kill.json"
    done = check("--mutants", "phantom-write", "control-plain", "1-2", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Killed 1 of 1 mutants" in done.stdout
    dead, alive = json.loads(report.read_text())
    assert (dead["id"], dead["killed"]) == ("phantom-write", True)
    assert dead["case"].startswith("00")
    assert dead["diagnosis"]
    assert dead["named"]
    assert set(dead["damage"]) <= {"stale", "never written", "zeroed"}
    assert dead["requests"] > 10
    assert "requests" in done.stdout
    assert (alive["control"], alive["killed"], alive["cases"]) == (True, False, 2)


def test_a_mutant_that_no_case_detects_is_reported_and_fails_the_run() -> None:
    done = check("--mutants", "long-name-smash", "1")
    assert done.returncode == 1
    assert "Alive: long-name-smash" in done.stdout


def test_a_mutant_that_no_case_can_test_is_neither_alive_nor_killed(tmp_path: Path) -> None:
    report = tmp_path / "kill.json"
    # it offers no flush, and both cases need one
    done = check("--mutants", "flush-not-advertised", "409", "400", "--json", str(report))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Not testable here: flush-not-advertised" in done.stdout
    assert "Killed 0 of 0 mutants" in done.stdout
    (fate,) = json.loads(report.read_text())
    assert (fate["state"], fate["killed"], fate["cases"]) == ("not testable here", False, 0)
    assert fate["not_run"] == 2


def test_passing_cases_that_do_not_guard_against_the_bug_do_not_make_it_alive() -> None:
    # 1 runs; 409 is the one that guards against it, and needs the flush that is not offered
    done = check("--mutants", "flush-not-advertised", "1", "409")
    assert "Not testable here: flush-not-advertised" in done.stdout, done.stdout


def test_knobs_apply_to_one_mutant_or_to_all(tmp_path: Path) -> None:
    report = tmp_path / "kill.json"
    arguments = ["phantom-write:scope=write", "size-rounded-up", "control-plain", "1-2"]
    done = check("--mutants", *arguments, "--knobs", "rate=1000000:seed=7", "--json", str(report))
    assert done.returncode == 1, done.stdout + done.stderr
    phantom, size, control = json.loads(report.read_text())
    assert phantom["knobs"] == "scope=write:rate=1000000:seed=7"
    assert (phantom["state"], control["state"]) == ("alive", "alive")
    assert (size["knobs"], size["knobs_left_out"]) == ("", "rate=1000000:seed=7")
    assert control["knobs"] == ""
    assert "Without these knobs: size-rounded-up" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["phantom-write:rate=0"], "phantom-write: rate=0: must be a whole number of at least 1"),
        (["size-rounded-up:rate=3"], "size-rounded-up: rate=3: this bug is a fixed fact"),
        (["control-plain", "--knobs", "rat=3"], "rat=3: unknown knob; knobs are rate"),
        (["phantom-write:requests=/tmp"], "--mutants counts the requests itself"),
        (["phantom-write@reference-file"], "use -t mutant:phantom-write@reference-file"),
    ],
)
def test_wrong_knobs_are_refused_before_anything_runs(arguments: list[str], message: str) -> None:
    done = check("--mutants", *arguments, "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_knobs_and_each_suite_require_mutants() -> None:
    for arguments in (["--knobs", "rate=3"], ["--each-suite"], ["--controls"]):
        done = check(*arguments, "1")
        assert done.returncode == 2
        assert f"{arguments[0]} requires --mutants" in done.stderr


def test_each_suite_has_its_own_kill(tmp_path: Path) -> None:
    report, page = tmp_path / "kill.json", tmp_path / "kill.html"
    arguments = ["phantom-write", "control-plain", "1-2", "199", "200", "254", "--each-suite"]
    done = check("--mutants", *arguments, "--json", str(report), "--html", str(page))
    assert done.returncode == 0, done.stdout + done.stderr
    dead, alive = json.loads(report.read_text())
    assert list(dead["suites"]) == ["iotests", "blkverify", "blkdebug"]
    assert dead["suites"]["iotests"]["case"] in ("001_first_middle_last", "002_sub_sector")
    assert dead["suites"]["blkverify"]["case"] == "200_random_workload"
    assert dead["suites"]["blkverify"]["state"] == "killed"
    assert [cell["state"] for cell in alive["suites"].values()] == ["alive"] * 3
    text = page.read_text()
    assert "<th>blkverify</th>" in text
    assert "200<small>" in text
    assert "alive, as it must be" in text


def test_a_resumed_run_keeps_the_earlier_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check("--mutants", "phantom-write", "1-2")
    (saved,) = tmp_path.rglob("mutants.json")
    progress = json.loads(saved.read_text())
    progress["fates"][0]["diagnosis"] = "stale, as it was before"
    saved.write_text(json.dumps(progress))
    again = check("--mutants", "phantom-write", "control-plain", "1-2", "--resume")
    assert "stale, as it was before" in again.stdout
    assert "Killed 1 of 1 mutants" in again.stdout
    other = check("--mutants", "phantom-write:rate=2", "1-2", "--resume")
    assert "stale, as it was before" not in other.stdout


def test_a_reference_backend_that_does_not_start_ends_the_run(tmp_path: Path) -> None:
    # no mutant can be judged if the reference backend does not start either
    (tmp_path / "reference.yaml").write_text("name: reference\nabout: nothing\n")
    targets = ["--targets-dir", str(tmp_path)]
    done = check("--mutants", "phantom-write", "1", *targets)
    assert done.returncode == 2
    assert "Killed 1" not in done.stdout


def test_a_mutant_whose_server_does_not_start_is_not_killed(tmp_path: Path) -> None:
    for path in (ROOT / "targets").glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    start = tmp_path / "start"
    start.write_text('case "$*" in *PhantomWrite*) echo no; exit 3;; esac\nexec "$@"\n')
    profile = tmp_path / "reference.yaml"
    profile.write_text(profile.read_text().replace("{python} -S", f"sh {start} {{python}} -S"))
    report = tmp_path / "kill.json"
    arguments = ["phantom-write", "silent-bit-flip", "1", "200", "--targets-dir", str(tmp_path)]
    arguments += ["--seed", "1"]  # with some seeds, two flips in one place are "altered" bytes
    done = check("--mutants", *arguments, "--json", str(report))
    assert done.returncode == 1, done.stdout + done.stderr
    broken, dead = json.loads(report.read_text())
    assert (broken["state"], broken["killed"], broken["named"]) == ("not ready", False, False)
    assert "the server died at its start" in broken["diagnosis"]
    assert (dead["state"], dead["damage"]) == ("killed", ["bit flip"])
    assert "Did not start: phantom-write" in done.stdout
    assert "Killed 1 of 2 mutants" in done.stdout


def test_a_diagnosis_with_unexpected_damage_is_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue()["phantom-write"], "shows", ("bit flip",))
    monkeypatch.setattr(catalogue()["phantom-write"], "says", "phantom")
    options = parse(["--mutants", "phantom-write", "1-5"])
    kill_matrix.main(
        options.selection, options.target, options.execution, options.reports, options.mutation
    )
    message = capsys.readouterr().out
    assert "Killed 1 of 1 mutants" in message
    assert "Not named: phantom-write" in message


def test_a_run_in_the_background_ends_at_its_first_kill() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `./check --mutants &` inherits it
    try:
        started_s = time.monotonic()
        done = check("--mutants", "phantom-write", "1", "100-199")
        taken_s = time.monotonic() - started_s
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Killed 1 of 1 mutants" in done.stdout
    assert taken_s < 25, "the cases after the first kill have run"


def test_an_unknown_mutant_is_refused() -> None:
    done = check("--mutants", "phantom-wirte")
    assert done.returncode == 2
    assert done.stderr == "check: unknown mutant 'phantom-wirte'; did you mean 'phantom-write'?\n"


def test_a_mutant_is_a_target_like_any_other() -> None:
    done = check("-t", "mutant:write-zeroes-noop", "30", "--color", "off")
    assert done.returncode == 1
    assert re.search(r"^TARGET +-- mutant:write-zeroes-noop$", done.stdout, re.MULTILINE)
    refused = check("-t", "mutant:nothing", "1")
    assert refused.returncode == 2
    assert "unknown mutant 'nothing'" in refused.stderr


def test_legal_oddities_are_not_accused(tmp_path: Path) -> None:
    report = tmp_path / "controls.json"
    done = check("--mutants", "--controls", "no-flush+min-4096", "1-2", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Cases accused 0 of 1 legal backends" in done.stdout
    (fate,) = json.loads(report.read_text())
    assert (fate["id"], fate["knobs"]) == ("control-legal", "has=no-flush+min-4096")
    assert (fate["control"], fate["state"], fate["cases"]) == (True, "alive", 2)


def test_all_oddities_are_run_alone_and_each_pair_together() -> None:
    wanted = [one.knobs for one in kill_matrix.read_controls([], seed=1)]
    assert "has=no-flush" in wanted
    assert any("no-flush" in one and "min-4096" in one for one in wanted)
    assert wanted.count("") > 8


def test_the_mutants_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    options = parse(["--mutants", "-l", "phantom-write", "torn-write"])
    assert kill_matrix.list_mutants(options.selection, options.mutation) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["phantom-write", "torn-write"]
    assert lines[0].endswith(catalogue()["phantom-write"].breaks)
    every = parse(["--mutants", "-l"])
    kill_matrix.list_mutants(every.selection, every.mutation)
    assert len(capsys.readouterr().out.splitlines()) == len(catalogue())
