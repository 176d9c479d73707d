"""Custom guests: a login on the console, an agent, an image that is not changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.arguments import parse
from qbdcheck.catalogue.history import default_cache_dir
from qbdcheck.errors import NotRun, SetupError, UsageError
from qbdcheck.guest.cpio import Member, archive
from qbdcheck.guest.guest import Guest, GuestFailed
from qbdcheck.guest.image import GuestImage, guest_image
from qbdcheck.options import CustomGuest
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import run

_INIT = b"""#!/bin/busybox sh
/bin/busybox mkdir -p /applets
/bin/busybox --install -s /applets
export PATH=/sbin:/bin:/applets
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
modprobe -a virtio_pci virtio_blk
while :; do getty -L -l /applets/login 115200 ttyS0 vt100; done
"""
_PASSWD = b"root:$1$qb$RIgmMgEtb7EQkNkjvdch8.:0:0:root:/:/bin/sh\n"
"""The entry of root, whose password is: secret."""


@pytest.fixture(scope="module")
def small_linux() -> GuestImage:
    try:
        return guest_image(default_cache_dir({}))
    except NotRun as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def with_login(small_linux: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    profile = b"export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/applets\n"
    changed = [Member("init", _INIT, 0o755), Member("etc/passwd", _PASSWD)]
    changed.append(Member("etc/profile", profile))
    initrd = tmp_path_factory.mktemp("own") / "initrd"
    initrd.write_bytes(small_linux.initramfs.read_bytes() + archive(changed))  # the later files win
    return initrd


@pytest.fixture(scope="module")
def logged_in(
    small_linux: GuestImage, with_login: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    place = tmp_path_factory.mktemp("logged-in")
    image = place / "image.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", image, "3M"], timeout_s=30)
    own = CustomGuest(image, small_linux.kernel, with_login, login="root:secret")
    guest = Guest(Programs(), place, own)
    try:
        guest.start()
        yield guest
    finally:
        guest.kill()


def test_a_login_on_the_console_runs_commands(logged_in: Guest) -> None:
    assert logged_in.run("echo $((6 * 7)); id -u") == "42\n0\n"
    ran = logged_in.execute('echo out; echo "it\'s" >&2; exit 3')
    assert (ran.status, ran.output, ran.errors) == (3, "out\n", "it's\n")
    with pytest.raises(GuestFailed, match="'false' ended with 1"):
        logged_in.run("false")


def test_files_of_all_bytes_pass_the_console(logged_in: Guest) -> None:
    data = bytes(range(256)) * 9
    logged_in.write_file("/tmp/a file", data)
    assert logged_in.read_file("/tmp/a file") == data
    logged_in.write_file("/tmp/empty", b"")
    assert logged_in.read_file("/tmp/empty") == b""


def test_the_kernel_may_print_into_an_answer(logged_in: Guest) -> None:
    noise = logged_in.begin("while :; do echo '<2>noise @1' > /dev/kmsg; sleep 0.05; done")
    try:
        data = bytes(range(256)) * 4
        logged_in.write_file("/tmp/noisy", data)
        assert logged_in.read_file("/tmp/noisy") == data
    finally:
        noise.kill()
    assert any("noise @1" in line for line in logged_in.console_lines())


def test_a_command_that_does_not_end_is_killed_with_its_children(logged_in: Guest) -> None:
    with pytest.raises(GuestFailed, match=r"did not end within 0\.5 s"):
        logged_in.run("sleep 1234 & sleep 1234", within_s=0.5)
    assert logged_in.execute("grep -la '[s]leep.1234' /proc/[0-9]*/cmdline").output == ""


def test_a_program_that_the_guest_lacks_is_not_a_failure_of_the_target(logged_in: Guest) -> None:
    with pytest.raises(NotRun, match="fio"):
        logged_in.run("fio --version")


def test_the_image_is_there_and_is_not_changed(logged_in: Guest) -> None:
    assert logged_in.own is not None
    assert logged_in.own.image is not None
    before = logged_in.own.image.read_bytes()
    logged_in.run("echo changed > /dev/vda && sync")
    assert logged_in.run("head -c 7 /dev/vda") == "changed"
    assert logged_in.own.image.read_bytes() == before


def test_a_disk_is_found(logged_in: Guest, tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(bytes(1 << 20))
    disk = logged_in.attach({"driver": "raw", "file": {"driver": "file", "filename": str(file)}})
    logged_in.run(f"echo hello > {disk.path} && sync")
    assert file.read_bytes()[:5] == b"hello"


def test_a_guest_with_only_an_agent_works(small_linux: GuestImage, tmp_path: Path) -> None:
    guest = Guest(
        Programs(), tmp_path, CustomGuest(None, small_linux.kernel, small_linux.initramfs)
    )
    try:
        guest.start()
        assert guest.run('echo "$0"; echo done').endswith("done\n")
        with pytest.raises(GuestFailed, match=r"did not end within 0\.5 s"):
            guest.run("sleep 1234 & sleep 1234", within_s=0.5)
        guest.run("sleep 0.2")
        assert guest.execute("grep -la '[s]leep.1234' /proc/[0-9]*/cmdline").output == ""
    finally:
        guest.kill()


def test_a_wrong_password_is_reported(
    small_linux: GuestImage, with_login: Path, tmp_path: Path
) -> None:
    own = CustomGuest(None, small_linux.kernel, with_login, login="root:wrong")
    guest = Guest(Programs(), tmp_path, own)
    try:
        with pytest.raises(GuestFailed, match="refused the login of 'root'"):
            guest.start()
    finally:
        guest.kill()


def test_a_file_that_is_not_an_image_is_reported(small_linux: GuestImage, tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    image.write_bytes(b"QFI\xfb\0\0\0\x09" + bytes(100))
    with pytest.raises(SetupError, match=r"--guest-image .*Unsupported qcow2 version"):
        Guest(Programs(), tmp_path, CustomGuest(image, small_linux.kernel))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--guest-image", "/nowhere"], "--guest-image /nowhere: no such file"),
        (["--guest-initrd", "/etc/passwd"], "require --guest-kernel"),
        (["--guest-append", "root=/dev/vda"], "require --guest-kernel"),
        (["--guest-login", "root"], "requires --guest-image or --guest-kernel"),
    ],
)
def test_wrong_flags_are_reported_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(arguments)


def test_flags_describe_a_guest() -> None:
    arguments = ["--guest-kernel", "/etc/passwd", "--guest-append", "a=b", "--guest-login", "u:p"]
    assert parse(arguments).guest.custom == CustomGuest(
        None, Path("/etc/passwd"), None, "a=b", "u:p"
    )
    assert parse([]).guest.custom is None
