"""Plain pytest gives the same verdicts as ./check with the same flags."""

from __future__ import annotations

import shlex
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from qbdcheck.files import ROOT
from tests.meta.toys import Toy


def plain(toy: Toy, *flags: str) -> dict[str, str]:
    """Run the toy with plain pytest; return the verdict of each case."""
    directories = ["--suites-dir", str(toy.suites), "--golden-dir", str(toy.golden)]
    check = shlex.join(["-t", "file", *directories, *flags])
    report = toy.directory / "pytest.xml"
    argv = [sys.executable, "-m", "pytest", "-p", "qbdcheck.plugin", "--noconftest", "-q"]
    argv += ["-c", str(ROOT / "pyproject.toml"), f"--junit-xml={report}", f"--check={check}"]
    done = subprocess.run(
        [*argv, str(toy.suites)],
        env=toy.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    verdicts = {}
    for case in ET.parse(report).iter("testcase"):
        failure, skipped = case.find("failure"), case.find("skipped")
        case_id = case.get("classname", "").rpartition(".")[2]
        if failure is not None:
            broken = str(failure.get("message", "")).startswith("BROKEN")
            verdicts[case_id] = "broken" if broken else "fail"
        else:
            verdicts[case_id] = "pass" if skipped is None else "not run"
    return verdicts


def check(toy: Toy, *flags: str) -> dict[str, str]:
    """Run the toy with ./check; return the verdict of each case."""
    done = toy.run("1-", *flags)
    return {case_id: done.verdict(case_id) for case_id in done.cases}


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--strict"],
        ["--strict", "-qcow2"],
        ["-e", "1=known"],
        ["--timeout", "1"],
        ["-e", "1-2"],
    ],
)
def test_the_same_flags_give_the_same_verdicts(toy: Toy, flags: list[str]) -> None:
    toy.case("001_passes", "pass", formats="any")
    toy.case("002_fails", "assert False", formats="any")
    toy.case("003_not_run", "from qbdcheck.kit import NotRun\nraise NotRun('no tape drive')")
    toy.case("004_allowed", "from qbdcheck.kit import NotRun\nraise NotRun('no O_DIRECT here')")
    toy.case("005_lacks", "pass", requires="kill")
    toy.case("006_broken", "undefined_name")
    toy.case("007_slow", "import time\ntime.sleep(2)")
    toy.case("1008_four_digits", "assert False", formats="any")
    allowed = "- no O_DIRECT *\n- not for image format *\n"
    (toy.suites / "allowed-not-run.yaml").write_text(allowed)
    expected = check(toy, *flags)
    assert len(expected) == 8
    assert plain(toy, *flags) == expected
    if flags == ["--strict"]:
        assert expected == {
            "001_passes": "pass",
            "002_fails": "fail",
            "003_not_run": "fail",
            "004_allowed": "not run",
            "005_lacks": "fail",
            "006_broken": "broken",
            "007_slow": "pass",
            "1008_four_digits": "fail",
        }


def test_a_wrong_flag_in_the_check_option_is_one_line(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    argv = [sys.executable, "-m", "pytest", "-p", "qbdcheck.plugin", "--noconftest", "-q"]
    argv += ["-c", str(ROOT / "pyproject.toml"), "--check=--dryrun", str(toy.suites)]
    done = subprocess.run(
        argv, env=toy.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "ERROR: --check: unknown flag --dryrun; did you mean --dry-run?" in done.stderr
    assert "Traceback" not in done.stderr
