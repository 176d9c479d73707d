"""`./check fio FILE`: what runs, what is refused before a guest starts, and what is broken."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.catalogue.history import default_cache_dir
from qbdcheck.errors import NotRun
from qbdcheck.files import ROOT
from qbdcheck.guest.image import guest_image


@pytest.fixture(scope="module", autouse=True)
def guest_can_be_made() -> None:
    try:
        guest_image(default_cache_dir({}))
    except NotRun as reason:
        pytest.skip(str(reason))


def check_fio(file: Path, text: str, *more: str, **variables: str) -> tuple[int, str]:
    """Run the command on a job file; return its exit code and all that it printed."""
    file.write_text(text)
    arguments = [sys.executable, "-m", "qbdcheck", "fio", str(file), *more]
    done = subprocess.run(
        arguments, cwd=ROOT, env={**os.environ, **variables}, timeout=170, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stderr + done.stdout


def test_a_job_of_another_machine_runs_on_two_volumes(tmp_path: Path) -> None:
    (tmp_path / "own.inc").write_text("ioengine=libaio\ndirect=1\nunified_rw_reporting=1\n")
    text = "[global]\ninclude own.inc\nbs=${KIB}k\nsize=1m\nverify=crc32c\n"
    text += "[one]\nfilename=/dev/nvme1n1\nrw=randwrite\n[two]\nfilename=/dev/sdf\nrw=write\n"
    report = tmp_path / "report.json"
    status, message = check_fio(tmp_path / "j.fio", text, "2M", "--json", str(report), KIB="8")
    assert status == 0, message
    assert "/dev/nvme1n1 of the job file is /dev/vdb in the guest" in message
    assert "/dev/sdf of the job file is /dev/vdc in the guest" in message
    assert "one: mixed 256 requests, 2097152 bytes" in message
    assert message.count("the volume counted 1048576 bytes read, 1048576 written") == 2, message
    assert message.endswith("fio found nothing wrong\n")
    assert len(json.loads(report.read_text())["jobs"]) == 2


def test_a_process_that_dies_is_broken_and_not_a_failure(tmp_path: Path) -> None:
    text = "[a]\nsize=512k\nrw=write\n[b]\nioengine=cpuio\ncpuload=1\nruntime=1\n"
    text += "exec_prerun=kill -ABRT $PPID\n"
    status, message = check_fio(tmp_path / "j.fio", text, "1M")
    assert status == 1
    assert "BROKEN  a process of fio died by SIGABRT" in message, message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[a]\nrw=write\nsize=1m\nverify=md5\nbsss=4k\n",
            "line 5: (fio ended with 1: .*|Bad option <)bsss=4k",
        ),
        ("[a]\nrw=sideways\n", "line 2: (fio ended with 1: .*|.*failed parsing )rw=sideways"),
        ("[a]\nrw=write\ndirectory=/home\n", "line 3: directory: "),
    ],
)
def test_what_cannot_run_is_one_line_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    status, output = check_fio(tmp_path / "j.fio", text, "1M")
    assert status == 2, output
    (line,) = [line for line in output.splitlines() if "j.fio, " in line]
    assert re.search(message, line), output
