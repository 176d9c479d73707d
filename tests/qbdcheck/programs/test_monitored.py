"""Real qemu-storage-daemon and qemu-system processes over QMP."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.errors import CaseBroken, NotRun, ProgramError
from qbdcheck.programs.blockdev import file_node, image_options, json_filename, node, over
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.machine import Machine
from qbdcheck.programs.process import run
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.qmp import QmpFailed
from qbdcheck.programs.storage_daemon import StorageDaemon


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="q") as path:
        yield Path(path)


@pytest.fixture
def image(short: Path) -> Path:
    path = short / "image"
    path.write_bytes(b"\xa5" * (1 << 20))
    return path


def add_both(qsd: StorageDaemon, image: Path) -> None:
    """Add the image as the node `from`, and an empty file of its size as `to`."""
    copy = image.with_name("copy")
    copy.write_bytes(bytes(image.stat().st_size))
    qsd.add(file_node(image, "from"))
    qsd.add(file_node(copy, "to"))


def test_daemon_exports_a_node_over_nbd(short: Path, image: Path) -> None:
    with StorageDaemon(Programs(), short) as qsd:
        node_name = qsd.add(over("raw", file_node(image), "disk"))
        uri = qsd.export(node_name)
        assert run(["nbdinfo", "--size", uri]).stdout == "1048576\n"
        assert (short / "qsd.nbd").stat().st_mode & 0o777 == 0o600
        assert qsd.export(node_name, "other", writable=False).startswith("nbd+unix:///other")


def test_refused_command_has_class_and_text(short: Path) -> None:
    with StorageDaemon(Programs(), short) as qsd, pytest.raises(QmpFailed) as caught:
        qsd.qmp("blockdev-del", node_name="none")
    assert caught.value.error_class == "GenericError"
    assert caught.value.description == "Failed to find node with node-name='none'"


def test_a_job_is_waited_for_until_it_has_begun(short: Path, image: Path) -> None:
    with StorageDaemon(Programs(), short) as qsd:
        add_both(qsd, image)
        qsd.qmp(
            "blockdev-mirror", job_id="j", device="from", target="to", sync="full",
            granularity=1 << 16, buf_size=1 << 16, speed=1 << 16,
        )  # fmt: skip
        qsd.wait_progress("j")
        assert 0 < qsd.qmp("query-jobs")[0]["current-progress"] < 1 << 20
        with pytest.raises(ProgramError, match="no job k"):
            qsd.wait_progress("k")


def test_job_is_waited_for_and_dismissed(short: Path, image: Path) -> None:
    with StorageDaemon(Programs(), short) as qsd:
        add_both(qsd, image)
        qsd.qmp(
            "blockdev-backup", job_id="j", device="from", target="to", sync="full",
            auto_dismiss=False,
        )  # fmt: skip
        assert qsd.wait_job("j")["status"] == "concluded"
        assert qsd.qmp("query-jobs") == []
        assert {"JOB_STATUS_CHANGE"} <= {event["event"] for event in qsd.events}
    assert (short / "copy").read_bytes() == image.read_bytes()


def test_failed_job_raises_its_error_text(short: Path, image: Path) -> None:
    with StorageDaemon(Programs(), short) as qsd:
        failing = node("blkdebug", None, image=file_node(image))
        failing["inject-error"] = [{"event": "none", "iotype": "read", "errno": 5}]
        qsd.add(over("raw", failing, "from"))
        qsd.add(node("null-co", "to", size=1 << 20))
        qsd.qmp(
            "blockdev-backup", job_id="j", device="from", target="to", sync="full",
            auto_dismiss=False,
        )  # fmt: skip
        with pytest.raises(QmpFailed, match="job j: Input/output error"):
            qsd.wait_job("j")


def test_missing_event_is_an_error_that_lists_the_events_seen(short: Path) -> None:
    with (
        StorageDaemon(Programs(), short) as qsd,
        pytest.raises(ProgramError, match=r"no event BLOCK_JOB_READY within 0\.1 s; events: none"),
    ):
        qsd.wait_event("BLOCK_JOB_READY", within_s=0.1)


def test_daemon_that_does_not_start_has_its_reason_in_the_error(short: Path) -> None:
    with pytest.raises(ProgramError, match="does not accept value 'nonsense'"):
        StorageDaemon(Programs(), short, arguments=["--blockdev", "driver=nonsense,node-name=n"])


def test_next_command_reports_that_the_daemon_was_killed(short: Path) -> None:
    qsd = StorageDaemon(Programs(), short)
    qsd.process.kill()
    with pytest.raises(ProgramError, match=r"SIGKILL|closed|lost|EOF"):
        qsd.qmp("query-status")
    qsd.abandon()


def test_machine_takes_qmp_and_hmp(short: Path, image: Path) -> None:
    with Machine(Programs(), short, kind="none") as vm:
        vm.add(over("raw", file_node(image), "disk"))
        assert vm.hmp('qemu-io disk "write -P 0x11 4k 512"') == ""
        assert "disk" in vm.hmp("info block -n")
        assert vm.qmp("query-status")["status"] == "prelaunch"
    assert image.read_bytes()[4096:4608] == b"\x11" * 512


def test_machine_pc_has_a_device(short: Path, image: Path) -> None:
    with Machine(Programs(), short) as vm:
        vm.add(over("raw", file_node(image), "disk"))
        vm.execute("device_add", {"driver": "virtio-blk-pci", "drive": "disk", "id": "d"})
        assert [info["qdev"] for info in vm.qmp("query-block")] == [
            "/machine/peripheral/d/virtio-backend"
        ]


# qemu-img


def test_qemu_img_returns_output_json_and_error_text(short: Path, image: Path) -> None:
    qemu_img = QemuImg(Programs(), short)
    assert "virtual size: 1 MiB" in qemu_img("info", "-f", "raw", image)
    assert qemu_img.json("info", "-f", "raw", image)["virtual-size"] == 1 << 20
    assert "No such file" in qemu_img.fails("info", short / "none")


def test_success_of_a_command_that_must_fail_is_an_error(short: Path, image: Path) -> None:
    with pytest.raises(ProgramError, match="must fail with 1, but it exited with 0"):
        QemuImg(Programs(), short).fails("info", image)


def test_output_that_is_no_json_makes_the_case_broken(short: Path) -> None:
    programs = Programs({"qemu-img": "/bin/echo"})
    with pytest.raises(CaseBroken, match="printed no JSON"):
        QemuImg(programs, short).json("info", "x")


def test_objects_go_to_each_command_that_takes_them(short: Path) -> None:
    qemu_img = QemuImg(Programs({"qemu-img": "/bin/echo"}), short)
    qemu_img.objects.append("secret,id=s")
    assert qemu_img("info", "x") == "info --object secret,id=s x\n"
    with pytest.raises(NotRun, match="qemu-img bogus takes no --object"):
        qemu_img("bogus", "x")


# blockdev


def test_names_of_options_get_dashes() -> None:
    assert node("file", "n", read_only=True, aio=None) == {
        "driver": "file", "node-name": "n", "read-only": True,
    }  # fmt: skip


def test_json_filename_keeps_other_alphabets() -> None:
    assert (
        json_filename({"driver": "file", "filename": "ü"})
        == 'json:{"driver":"file","filename":"ü"}'
    )


def test_image_options_are_flat_with_commas_doubled() -> None:
    blockdev = over("raw", file_node("a,b", None, locking="off"), None, read_only=True, list=[1])
    assert image_options(blockdev) == (
        "driver=raw,file.driver=file,file.filename=a,,b,file.locking=off,read-only=on,list.0=1"
    )


@pytest.mark.parametrize("error", [OSError("lost"), EOFError("lost"), ProgramError("lost", [], 1)])
def test_crash_is_named_instead_of_what_a_client_met(short: Path, error: Exception) -> None:
    with (
        pytest.raises(
            ProgramError, match=r"daemon was killed by SIGABRT: .*\(seen as: lost"
        ) as caught,
        StorageDaemon(Programs(), short) as qsd,
    ):
        os.kill(qsd.pid, signal.SIGABRT)
        raise error
    assert caught.value.__cause__ is error


def test_error_of_a_client_stays_while_the_program_runs(short: Path) -> None:
    with pytest.raises(OSError, match="lost"), StorageDaemon(Programs(), short):
        raise OSError("lost")


def test_wrong_data_stays_the_cause_although_the_program_crashed(short: Path) -> None:
    with pytest.raises(AssertionError, match="stale"), StorageDaemon(Programs(), short) as qsd:
        os.kill(qsd.pid, signal.SIGABRT)
        raise AssertionError("stale")
