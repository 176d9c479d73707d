"""Guests that run: booted, from a template, with disks of each kind."""

from pathlib import Path

import pytest

from qbdcheck.catalogue.history import default_cache_dir
from qbdcheck.guest.agent import Agent
from qbdcheck.guest.devices import KINDS, Device
from qbdcheck.guest.guest import Guest, GuestFailed
from qbdcheck.guest.image import GuestImage, guest_image
from qbdcheck.guest.quick_shell import QuickShell
from qbdcheck.guest.template import template
from qbdcheck.machine_speed import work_s
from qbdcheck.programs.installed import Programs

SIZE = 1 << 20


def new_disk(directory: Path) -> dict[str, object]:
    file = directory / "disk"
    file.write_bytes(bytes(SIZE))
    return {"driver": "raw", "file": {"driver": "file", "filename": str(file)}}


def test_the_image_is_made_once(image: GuestImage) -> None:
    again = guest_image(default_cache_dir({}))
    assert again.key == image.key
    assert again.made_s == 0.0
    assert again.size > 50 << 20


def test_commands_have_output_errors_and_a_status(restored: Guest) -> None:
    assert restored.run("echo $((6 * 7))") == "42\n"
    ran = restored.execute("echo out; echo err >&2; exit 3")
    assert (ran.status, ran.output, ran.errors) == (3, "out\n", "err\n")
    assert restored.execute("kill -9 $$").status == 128 + 9
    with pytest.raises(GuestFailed, match=r"'false' ended with 1"):
        restored.run("false")


def test_programs_are_where_tests_of_ltp_run_them(restored: Guest) -> None:
    restored.run("mkdir -p /tmp/gone/deep && /bin/rm -rf /tmp/gone && ! test -e /tmp/gone")


def test_modules_are_found_as_tests_of_ltp_look_for_them(restored: Guest) -> None:
    here = "/lib/modules/$(uname -r)"
    for name in ("loop", "isofs", "squashfs", "binfmt_misc", "quota_v2", "xfs"):
        restored.run(f"grep -q '/{name}[.]ko' {here}/modules.dep {here}/modules.builtin")


def test_a_quick_shell_keeps_its_variables_and_is_fast(restored: Guest) -> None:
    shell = QuickShell(restored)
    assert shell.run("n=41; cd /proc; echo one; echo two >&2") == (0, b"one\n", "two\n")
    assert shell.run('echo "$((n + 1)) $PWD"; false') == (1, b"42 /proc\n", "")
    assert shell.run("head -c 100000 /dev/zero")[1] == bytes(100000)
    start_s = work_s()
    for _ in range(20):
        shell.run(":")
    assert work_s() - start_s < 10
    with pytest.raises(GuestFailed, match="did not end within"):
        shell.run("sleep 20", within_s=0.3)


def test_a_command_that_does_not_end_is_killed_with_its_children(restored: Guest) -> None:
    with pytest.raises(GuestFailed, match=r"'sleep 77 & sleep 78' did not end within 0\.5 s"):
        restored.run("sleep 77 & sleep 78", within_s=0.5)
    assert restored.execute("ps | grep '[s]leep 7[78]'").status == 1


def test_files_go_in_and_out(restored: Guest) -> None:
    data = bytes(range(256)) * 8192
    restored.write_file("/tmp/file", data)
    assert restored.read_file("/tmp/file") == data
    restored.write_file("/tmp/file", "")
    assert restored.read_file("/tmp/file") == b""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"ide", "ahci"}])
def test_a_disk_is_plugged_in_found_written_and_unplugged(
    restored: Guest, tmp_path: Path, kind: str
) -> None:
    node = restored.machine.add({"node-name": f"n-{kind}", **new_disk(tmp_path)})
    disk = restored.attach(node, Device(kind), f"d-{kind}")
    block = disk.path.removeprefix("/dev/")
    assert restored.run(f"cat /sys/block/{block}/size") == f"{SIZE // 512}\n"
    restored.run(f"echo written | dd of={disk.path} conv=fsync 2>/dev/null")
    restored.detach(disk)
    restored.machine.qmp("blockdev-del", node_name=node)
    assert (tmp_path / "disk").read_bytes().startswith(b"written\n")


def test_trouble_on_the_console_fails_a_guest_unless_it_is_expected(restored: Guest) -> None:
    restored.run("echo '<3>I/O error, dev vdz, sector 8' > /dev/kmsg; sleep 0.1")
    with pytest.raises(GuestFailed, match=r"the guest's kernel says: .*I/O error, dev vdz"):
        restored.settle()
    restored.expected.append("vdz")
    restored.settle()
    channels = [moment.channel for moment in restored.timeline()]
    assert {"agent", "event", "console", "guest", "qmp"} <= set(channels)


def test_a_guest_boots_with_an_ide_disk_and_its_panic_is_reported(
    image: GuestImage, tmp_path: Path
) -> None:
    plugged = [(new_disk(tmp_path), Device("ide", physical=512))]
    guest = Guest(Programs(), tmp_path, image, plugged=plugged)
    try:
        guest.start()
        assert guest.disks[0].path == "/dev/sda"
        guest.run("echo written | dd of=/dev/sda conv=fsync 2>/dev/null")
        assert (tmp_path / "disk").read_bytes().startswith(b"written\n")
        with pytest.raises(GuestFailed, match="Kernel panic"):
            guest.run("echo c > /proc/sysrq-trigger", within_s=20)
    finally:
        guest.kill()


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            Device("floppy"),
            "unknown device floppy; known: virtio-blk, virtio-scsi, nvme, ide, ahci",
        ),
        (Device("nvme", werror="stop"), "nvme has no werror"),
        (Device("ide", iothread="io0"), "ide has no iothread"),
        (Device("ide", queues=2), "ide has no queues"),
        (Device("ahci", iothread="io0"), "ahci has no iothread"),
    ],
)
def test_impossible_devices_are_refused(device: Device, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        device.options("node", "identity")


def test_a_virtio_scsi_disk_with_queues_has_a_controller_of_its_own() -> None:
    device = Device("virtio-scsi", queues=2, iothread="io0")
    assert device.controller("d") == {
        "driver": "virtio-scsi-pci", "id": "bus-d", "iothread": "io0", "num_queues": 2,
    }  # fmt: skip
    assert device.options("n", "d")["bus"] == "bus-d.0"
    assert Device("virtio-scsi").controller("d") == {}
    assert Device("nvme", queues=2).options("n", "d")["max_ioqpairs"] == 2


def test_a_guest_reboots_and_its_disks_stay(image: GuestImage, tmp_path: Path) -> None:
    saved = template(Programs(), image, image.kernel.parent)
    guest = Guest(Programs(), tmp_path, image, template=saved.directory)
    try:
        guest.start()
        disk = guest.attach(new_disk(tmp_path), Device())
        guest.run(f"touch /tmp/here; echo written | dd of={disk.path} conv=fsync 2>/dev/null")
        guest.reboot()
        (disk,) = guest.disks
        assert guest.run(f"ls /tmp; head -n 1 {disk.path}") == "written\n"
        first = [one.at_s for one in guest.timeline() if "reboot: Restarting" in one.text]
        assert first, "the console has no end of the first kernel"
        with pytest.raises(GuestFailed):  # a panic still ends QEMU
            guest.run("echo c > /proc/sysrq-trigger", within_s=20)
        assert guest.machine.process.has_ended_within(10)
    finally:
        guest.kill()


def test_a_kernel_out_of_memory_is_reported(image: GuestImage, tmp_path: Path) -> None:
    saved = template(Programs(), image, image.kernel.parent)
    guest = Guest(Programs(), tmp_path, image, template=saved.directory)
    try:
        guest.start()
        guest.execute("tail /dev/zero", within_s=60)
        with pytest.raises(GuestFailed, match=r"kernel says: .*Out of memory: Killed process"):
            guest.settle()
    finally:
        guest.kill()


def test_a_disk_that_hangs_is_reported_by_the_kernel_in_bounded_time(
    image: GuestImage, tmp_path: Path
) -> None:
    saved = template(Programs(), image, image.kernel.parent)
    guest = Guest(Programs(), tmp_path, image, template=saved.directory)
    try:
        guest.start()
        group = {"qom-type": "throttle-group", "id": "still"}
        guest.machine.execute("object-add", group)
        node = {"driver": "throttle", "throttle-group": "still", "file": new_disk(tmp_path)}
        disk = guest.attach(node, Device())
        still = {"path": "/objects/still", "property": "limits", "value": {"bps-total": 64}}
        guest.machine.execute("qom-set", still)  # not before: the kernel reads each new disk
        guest.run("echo 2 > /proc/sys/kernel/hung_task_timeout_secs")
        # buffered: the kernel does not report direct I/O that waits (blk_io_schedule)
        read = f"for i in $(seq 4); do dd if={disk.path} of=/dev/null bs=4k count=1 skip=$((i*50)) "
        with pytest.raises(GuestFailed, match=r"kernel says: .*blocked for more than 2 seconds"):
            guest.run(read + "& done; wait", within_s=20)  # a busy host starts dd late
        with pytest.raises(GuestFailed) as caught:
            guest.settle()
        assert caught.value.timed_out  # on a starved host this is no fault of the target
    finally:
        guest.kill()


def test_a_paused_guest_fails_in_bounded_time(image: GuestImage, tmp_path: Path) -> None:
    saved = template(Programs(), image, image.kernel.parent)
    guest = Guest(Programs(), tmp_path, image, template=saved.directory)
    try:
        guest.start()
        guest.machine.execute("stop")
        assert isinstance(guest.agent, Agent)
        guest.agent.answer_s = 1.0
        with pytest.raises(GuestFailed, match=r"the guest died in 'true': .*no answer"):
            guest.run("true", within_s=1.0)
    finally:
        guest.kill()
