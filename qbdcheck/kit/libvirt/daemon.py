"""A private libvirtd in session mode, without systemd and D-Bus.

libvirtd is in a user namespace, in which it is an ordinary user (as root it would run in system
mode), and in a process namespace: QEMUs become daemons, and the kernel kills them when the first
process of the namespace ends (user_namespaces(7), pid_namespaces(7)). That process is a shell. It
reaps what becomes an orphan, for libvirtd waits until a pid is gone, and it dies with its parent.
A start takes 0.4 s; the first on a machine takes 4 s, because libvirtd asks each QEMU what it can
do. The answers are in a cache that all runs share.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from signal import SIGKILL
from typing import Self

from qbdcheck.clock import pause
from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError
from qbdcheck.files import COMMAND, ROOT
from qbdcheck.kit.libvirt.native import Native, native_of
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import Process, run
from qbdcheck.runner.subreaper import children, command_line, descendants
from qbdcheck.socket_paths import check_socket_path

QBD_EMULATOR = ROOT / "contrib" / "qbd-driver" / "build" / "bin" / "qemu-system-x86_64"
"""QEMU with the driver of contrib/qbd-driver, once it is built."""
_READY_S = 60.0
_STEP_S = 0.02
_COMMAND_S = 60.0
_SBIN = "/usr/sbin:/usr/local/sbin"
_AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--pid", "--fork",
            "--kill-child=KILL", "--mount-proc")  # fmt: skip
_LONGEST = "c/libvirt/qemu/lib/domain-999-d/monitor.sock"
_CONFIGURATION = 'stdio_handler = "file"\n'
"""The output of QEMU goes to a file, not to virtlogd, which would be one more process."""


class VirshFailed(ProgramError):  # noqa: N818  # an outcome that cases expect
    """virsh ended with an error; ``text`` is its message, without ``error:``."""

    def __init__(self, argv: tuple[str, ...], status: int, text: str) -> None:
        super().__init__(f"virsh {' '.join(argv)}: {text}", argv, status)
        self.text = text


def _message(stderr: str) -> str:
    lines = (line.removeprefix("error: ").strip() for line in stderr.splitlines())
    return "; ".join(line for line in lines if line)


class LibvirtDaemon:
    """A libvirtd that dies with its owner, and with it all of its QEMUs.

    :param programs: the target's programs. :param scratch: the private directory of the case.
    :param cache_dir: gets ``libvirt/``, what libvirtd has found out about each QEMU.
    :raise NotRun: libvirt is not installed, or there are no user namespaces here.
    :raise SetupError: libvirtd does not start, or ``scratch`` is too long a path.
    """

    def __init__(self, programs: Programs, scratch: Path, cache_dir: Path) -> None:
        self._programs = programs
        search = f"{os.environ.get('PATH', '')}:{_SBIN}"
        for name in ("libvirtd", "virsh", "unshare"):
            if not any((Path(part) / name).exists() for part in search.split(":") if part):
                fix = f"run: {COMMAND} --install --with libvirt"
                raise NotRun(f"libvirt is not installed: there is no {name}; {fix}")
        programs.require("qemu-system-x86_64")
        trial = run([*_AS_USER, "true"], check=False)
        if trial.returncode:
            raise NotRun(f"libvirtd needs user namespaces: {trial.stderr.strip()}")
        self.root = scratch / "v"
        check_socket_path(self.root / _LONGEST)
        self.directory = scratch
        self._shared = cache_dir.absolute() / "libvirt"
        self._environment = {
            "PATH": search,
            "HOME": str(self.root),
            "LC_ALL": "C",
            "DBUS_SESSION_BUS_ADDRESS": "",
            **self._directories(),
        }
        self._process = Process(
            [*_AS_USER, "sh", "-c", "libvirtd --timeout 0; exit"],
            scratch,
            "libvirtd",
            env=self._environment,
        )
        self._uri = f"qemu+unix:///session?socket={self.root}/r/libvirt/libvirt-sock"
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise

    def _directories(self) -> dict[str, str]:
        """Make the directories; return the variables that name them."""
        made = {"XDG_RUNTIME_DIR": "r", "XDG_CONFIG_HOME": "c", "XDG_CACHE_HOME": "h",
                "XDG_DATA_HOME": "d"}  # fmt: skip
        (self.root / "c" / "libvirt").mkdir(parents=True)
        (self.root / "c" / "libvirt" / "qemu.conf").write_text(_CONFIGURATION)
        for name in ("r", "d", "h/libvirt/qemu"):
            (self.root / name).mkdir(parents=True)
        (self.root / "r").chmod(0o700)
        try:
            self._shared.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"cannot make {self._shared}: {error.strerror}") from None
        (self.root / "h/libvirt/qemu/cache").symlink_to(self._shared)
        return {variable: str(self.root / name) for variable, name in made.items()}

    def _wait_ready(self) -> None:
        limit = Limit(_READY_S)
        while True:
            try:
                self.virsh("uri")
            except VirshFailed as error:
                if self._process.has_ended_within(0):
                    raise SetupError(f"libvirtd: {self._process.describe()}") from None
                if limit.is_over:
                    raise SetupError(f"libvirtd does not answer: {error.text}") from None
                pause(_STEP_S)
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Commands ------------------------------------------------------------------------------------

    def virsh_argv(self, *arguments: str) -> list[str]:
        """Return the command line of a virsh on this libvirtd."""
        return ["virsh", "--quiet", "-c", self._uri, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of libvirtd and virsh."""
        return self._environment

    def virsh(self, *arguments: str | Path, timeout_s: float = _COMMAND_S) -> str:
        """Run a command of virsh, and return its output.

        :param timeout_s: seconds of work on the idle machine.
        :raise VirshFailed: it reports an error.
        """
        words = tuple(map(str, arguments))
        argv = self.virsh_argv(*words)
        done = run(argv, timeout_s=timeout_s, check=False, env=self._environment)
        if done.returncode:
            raise VirshFailed(words, done.returncode, _message(done.stderr))
        return done.stdout

    def fails(self, *arguments: str | Path) -> str:
        """Run a command of virsh that must fail, and return its message.

        :raise AssertionError: it succeeds.
        """
        try:
            printed = self.virsh(*arguments)
        except VirshFailed as error:
            return error.text
        words = " ".join(map(str, arguments))
        raise AssertionError(f"virsh {words}: expected an error, got success: {printed.strip()}")

    def file(self, name: str, text: str) -> Path:
        """Write a file of the case, for virsh."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    def to_native(self, xml: str) -> Native:
        """Return what libvirt makes of a domain for QEMU (virsh domxml-to-native).

        :raise VirshFailed: libvirt refuses the domain.
        """
        path = self.file("native.xml", xml)
        return native_of(self.virsh("domxml-to-native", "qemu-argv", "--xml", path))

    @property
    def emulator(self) -> Path:
        """The QEMU of the target, as libvirt starts it."""
        real = Path(self._programs.argv("qemu-system-x86_64")[-1])
        return self.with_qbd(real) if real == QBD_EMULATOR else real

    def with_qbd(self, real: Path) -> Path:
        """Return a script that starts a QEMU in which the qbd driver answers to the name rbd.

        libvirt starts QEMU with an environment of its own, and knows no driver qbd. All runs have
        the same path for the script, because libvirtd remembers what a QEMU can do by its path.
        """
        text = f'#!/bin/sh\nQBD_AS_RBD=1 exec {real} "$@"\n'
        script = self._shared / f"emulator-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if not script.exists():
            new = script.with_name(f"{script.name}.{os.getpid()}")
            new.write_text(text)
            new.chmod(0o755)
            new.rename(script)
        return script

    def kill_qemu(self, name: str) -> None:
        """Send SIGKILL to the QEMU of a domain.

        :raise CaseBroken: there is none.
        """
        for pid in descendants(self._process.pid):
            words = command_line(pid).split()
            if f"guest={name},debug-threads=on" in words:
                os.kill(pid, SIGKILL)
                return
        raise CaseBroken(f"the domain {name} has no QEMU")

    def close(self) -> None:
        """End libvirtd and all of its QEMUs, and wait until they are gone."""
        if self._process.is_running:
            # The first process of the namespace; with it the kernel ends all others (see above).
            for pid in children(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, SIGKILL)
            self._process.has_ended_in(Limit(_READY_S))
        self._process.kill()
