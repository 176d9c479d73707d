"""A libvirtd ends with its owner; where it cannot start, the case is not run."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun, SetupError
from qbdcheck.files import ROOT
from qbdcheck.kit.libvirt import daemon as daemons
from qbdcheck.kit.libvirt.daemon import LibvirtDaemon, VirshFailed
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.installed import Programs

needs_libvirt = pytest.mark.skipif(
    shutil.which("virsh") is None or not Path("/usr/sbin/libvirtd").exists(),
    reason="libvirt is not installed; run: ./check --install --with libvirt",
)
OWNER = """
import sys, time
from pathlib import Path
from qbdcheck.kit.libvirt.daemon import LibvirtDaemon
from qbdcheck.kit.libvirt.domain import Domain
from qbdcheck.kit.libvirt.xml import domain_xml
from qbdcheck.programs.installed import Programs
daemon = LibvirtDaemon(Programs(), Path(sys.argv[1]), Path(sys.argv[1]) / "cache")
Domain(daemon, domain_xml(emulator=daemon.emulator))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for libvirt's sockets."""
    with tempfile.TemporaryDirectory(prefix="qc-") as name:
        yield Path(name)


def processes_with(text: str) -> list[str]:
    """Return the command lines of all processes that have a text in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text.encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def test_a_missing_libvirt_is_a_reason_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(daemons, "_SBIN", str(tmp_path))
    with pytest.raises(NotRun, match=r"no libvirtd; run: .*--install --with libvirt"):
        LibvirtDaemon(Programs(), tmp_path, tmp_path)


@needs_libvirt
def test_a_path_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is too long for a Unix socket; set TMPDIR"):
        LibvirtDaemon(Programs(), tmp_path / ("x" * 60), tmp_path)


@needs_libvirt
def test_commands_answer_and_their_errors_have_the_message(short_path: Path) -> None:
    with LibvirtDaemon(Programs(), short_path, short_path / "cache") as daemon:
        assert daemon.virsh("list", "--all", "--name").split() == []
        assert daemon.fails("start", "nobody") == "failed to get domain 'nobody'"
        with pytest.raises(VirshFailed) as caught:
            daemon.virsh("dominfo", "nobody")
        assert caught.value.text == "failed to get domain 'nobody'"
        with pytest.raises(AssertionError, match="virsh uri: expected an error, got success"):
            daemon.fails("uri")
    assert processes_with(f"{short_path}/v") == []


@needs_libvirt
def test_everything_dies_with_a_killed_owner(short_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", OWNER, str(short_path)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        running = " ".join(processes_with(f"{short_path}/v"))
        assert "libvirtd" in running
        assert "qemu-system" in running
        owner.send_signal(signal.SIGKILL)
    limit = Limit(10)
    while left := processes_with(f"{short_path}/v"):
        assert not limit.is_over, f"still running: {left}"
        pause(0.01)
