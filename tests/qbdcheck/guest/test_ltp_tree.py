"""A tree in the layout of an installed LTP, with small programs that really run."""

import importlib.util
import json
import sys
import tarfile
from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.guest.guest import Guest, GuestFailed
from qbdcheck.guest.ltp_tree import LtpTree
from qbdcheck.guest.runtest import Entry, Runtest, run_tests
from qbdcheck.programs.process import run
from qbdcheck.report.events import TestEnded

PROGRAMS = {
    "grows": 'd=$2; for i in 1 2 3 4; do head -c 70000 /dev/urandom >> "$d/f" || exit 1; done;'
    ' dd if="$d/f" of=copy bs=4k iflag=fullblock && cmp "$d/f" copy',
    "knows": '[ "$TMP" = "$TMPDIR" ] && [ "$PWD" = "$TMP" ] && [ -d "$LTPROOT/runtest" ] || exit 1;'
    " grep -q CONFIG_EXT4_FS=y /lib/modules/$(uname -r)/config || exit 2;"
    " grep -q ext4 /lib/modules/$(uname -r)/modules.builtin || exit 2; [ $LTP_DEV_FS_TYPE = $1 ]",
    "fails": "echo it is wrong; exit 1",
    "breaks": "echo no such thing; exit 2",
    "warns": "exit 4",
    "lacks": "exit 32",
    "hangs": "echo it begins; setsid sleep 9997 & sleep 9999 & sleep 9998",
    "daemon": "setsid sh -c 'trap : TERM; exec sleep 9996' & echo started",
}
GROUPS = {
    "dio": "#DESCRIPTION:a comment\ngf01 grows -d $TMPDIR\nconf01 lacks\n",
    "all": (
        "gf01 grows -d $TMPDIR\nf01 fails\nb01 breaks\nw01 warns\nc01 lacks\nh01 hangs\n"
        "s01 daemon\ns02 true\n"
    ),
    "ltp-aiodio.part4": "aio01 knows ext4\naio02\tknows xfs\nother other\n",
}


def make_tree(place: Path) -> Path:
    (place / "runtest").mkdir(parents=True)
    (place / "testcases/bin").mkdir(parents=True)
    for name, text in GROUPS.items():
        (place / "runtest" / name).write_text(text, encoding="utf-8")
    for name, text in PROGRAMS.items():
        program = place / "testcases/bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    return place


def test_a_tree_has_groups_and_aliases(tmp_path: Path) -> None:
    tree = LtpTree(make_tree(tmp_path / "tree"), tmp_path)
    assert tree.entries("dio") == [Entry("gf01", "grows -d $TMPDIR"), Entry("conf01", "lacks")]
    assert [entry.name for entry in tree.entries("io")] == ["aio01", "aio02"]
    with pytest.raises(UsageError, match=r"no runtest/fs; there are all, dio, ltp-aiodio\.part4"):
        tree.entries("fs")


def test_a_tree_may_be_a_tar_file(tmp_path: Path) -> None:
    file = tmp_path / "ltp.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(make_tree(tmp_path / "tree"), "opt/ltp")
    assert LtpTree(file, tmp_path / "scratch").entries("dio")
    (tmp_path / "no.tar").write_bytes(b"no")
    with pytest.raises(UsageError, match="give a tar file"):
        LtpTree(tmp_path / "no.tar", tmp_path / "other")
    with pytest.raises(UsageError, match="give what LTP's `make install` made"):
        LtpTree(tmp_path, tmp_path)


def test_tests_run_in_a_guest(restored: Guest, tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(64 << 20)
    node = {"driver": "raw", "file": {"driver": "file", "filename": str(tmp_path / "disk")}}
    restored.attach(node)
    tree = LtpTree(make_tree(tmp_path / "tree"), tmp_path)
    environment = tree.put_into(restored)
    ended: list[TestEnded] = []
    logged: list[object] = []
    with pytest.raises(
        AssertionError, match=r"f01: fail: it is wrong; in all .*1 fail.*1 timed out"
    ):
        Runtest(lambda *arguments: logged.extend(arguments), 0.0, ended.append)(
            restored, "ext4", tree.entries("all"), environment=environment, test_s=15.0
        )
    assert [(one.name, one.outcome) for one in ended] == [
        ("ext4 gf01", "pass"), ("ext4 f01", "fail"), ("ext4 b01", "broken"), ("ext4 w01", "warn"),
        ("ext4 c01", "conf"), ("ext4 h01", "timed out"), ("ext4 s01", "pass"), ("ext4 s02", "pass"),
    ]  # fmt: skip
    assert ended[1].said == "it is wrong"
    # "while others used the machine" follows on a loaded machine
    assert ended[5].said.startswith("it begins\nkilled after 15 s")
    assert "ext4 f01: fail, " in str(logged)
    assert restored.execute("ps | grep '[s]leep 999'").status == 1, "a test outlived its end"
    assert restored.run("ls /mnt").split() == ["lost+found"], "a test left files behind"

    environment["LTP_DEV_FS_TYPE"] = "ext4"
    (known, other) = run_tests(restored, tree.entries("io"), "/mnt", environment=environment)
    assert (known.outcome, other.outcome) == ("pass", "fail")
    again = run_tests(restored, [Entry("a", "true"), Entry("c", "exit 32")], "/mnt", soak_s=8.0)
    assert [one.name for one in again[:4]] == ["a", "c", "a#2", "c#2"][: len(again)]
    assert len(again) > 2, "not repeated, though the time was not over"
    assert {one.outcome for one in again} == {"pass", "conf"}
    short = run_tests(
        restored, [Entry("h01", "sleep 999"), Entry("a", "true")], "/mnt", suite_s=1.0
    )
    assert [one.outcome for one in short] == ["timed out", "broken"]
    assert short[0].said.removesuffix(", while others used the machine") == "killed after 1 s"
    assert short[1].said == "no time left of 1 s"
    with pytest.raises(GuestFailed, match="grep"):
        run_tests(restored, [Entry("a", "true")], "/tmp")


@pytest.mark.nightly
def test_cases_run_a_tree_and_report_its_tests(tmp_path: Path, image: object) -> None:
    tree = make_tree(tmp_path / "tree")
    report = tmp_path / "report.json"
    arguments = [sys.executable, "-m", "qbdcheck"]
    arguments += ["--ltp", str(tree), "--json", str(report), "541"]
    run(arguments, cwd=ROOT, timeout_s=120)
    (case,) = json.loads(report.read_text(encoding="utf-8"))["cases"]
    assert case["verdict"] == "pass"
    assert [(one["name"], one["outcome"]) for one in case["tests"]] == [
        ("ext4 gf01", "pass"), ("ext4 conf01", "conf"),
        ("xfs gf01", "pass"), ("xfs conf01", "conf"),
    ]  # fmt: skip
    (tree / "runtest/dio").write_text("gf01 grows -d $TMPDIR\nf01 fails\n", encoding="utf-8")
    done = run(arguments, cwd=ROOT, timeout_s=120, check=False)
    assert done.returncode == 1
    assert "f01: fail: it is wrong" in done.stdout
    (case,) = json.loads(report.read_text(encoding="utf-8"))["cases"]
    assert case["tests"][-1]["said"] == "it is wrong"
    arguments[-1:] = ["runtest", "dio", "320M"]
    done = run(arguments, cwd=ROOT, timeout_s=120, check=False)
    assert done.returncode == 1
    assert "FAIL  ext4: f01: fail: it is wrong" in done.stdout
    assert "FAIL  xfs: f01: fail: it is wrong" in done.stdout
    assert json.loads(report.read_text(encoding="utf-8"))["stats"]["failed"] == 2


@pytest.mark.nightly
def test_kirk_runs_a_tree_in_a_guest(tmp_path: Path, image: object) -> None:
    if importlib.util.find_spec("libkirk") is None:
        pytest.skip("kirk is not installed (requirements-dev.lock)")
    tree = make_tree(tmp_path / "tree")
    (tree / "runtest/all").write_text("c01 lacks\nf01 fails\nh01 hangs\nd01 places\n")
    places = tree / "testcases/bin/places"
    places.write_text("#!/bin/sh\ngrep -q ' /mnt ' /proc/mounts && [ $TMPDIR = /mnt ]\n")
    places.chmod(0o755)
    report = tmp_path / "report.json"
    arguments = [sys.executable, "-m", "qbdcheck"]
    arguments += ["runtest", "all", "320M", "--ltp", str(tree), "--kirk"]
    done = run(
        [*arguments, "--timeout", "5", "--json", str(report)], cwd=ROOT, timeout_s=170, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL  ext4: f01: fail: it is wrong" in done.stdout, done.stdout
    results = json.loads(report.read_text(encoding="utf-8"))["results"]
    outcomes = {one["test_fqn"]: one["status"] for one in results}
    assert set(outcomes) == {f"{kind} {name}01" for kind in ("ext4", "xfs") for name in "cfhd"}
    assert {outcomes[f"{kind} d01"] for kind in ("ext4", "xfs")} == {"pass"}
    assert outcomes["ext4 c01"] == "conf"
    assert outcomes["ext4 h01"] in {"brok", "fail"}, "a test that hung was not ended"
