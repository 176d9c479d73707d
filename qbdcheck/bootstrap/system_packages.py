"""The programs that cases use, their system packages, and the installation of these.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.files import COMMAND


def note(text: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"check: {text}\n")
    sys.stderr.flush()


class InstallError(Exception):
    """The environment cannot be created; the message has one line with the way to fix it."""


@dataclass(frozen=True)
class Package:
    """The system package of a program: its name in Debian and Ubuntu, and in Fedora.

    ``why`` completes the sentence "it is needed for ...". ``minimum`` is the oldest usable version.
    """

    apt: str
    dnf: str
    why: str
    minimum: str = ""


PROGRAMS: Mapping[str, Package] = {
    "qemu-img": Package("qemu-utils", "qemu-img", "every case", "6.0"),
    "qemu-io": Package("qemu-utils", "qemu-img", "reads and writes", "6.0"),
    "qemu-nbd": Package("qemu-utils", "qemu-img", "the target qemu-nbd", "6.0"),
    "qemu-storage-daemon": Package("qemu-system-common", "qemu-img", "block jobs", "6.0"),
    "qemu-system-x86_64": Package(
        "qemu-system-x86", "qemu-system-x86-core", "machines and guests", "6.0"
    ),
    "nbdkit": Package("nbdkit", "nbdkit", "the targets nbdkit and nbdkit-file", "1.24"),
    "nbdinfo": Package("libnbd-bin", "libnbd", "checks by another client", "1.6"),
    "nbdcopy": Package("libnbd-bin", "libnbd", "copies by another client", "1.6"),
    "nbdsh": Package("python3-libnbd", "python3-libnbd", "requests by another client", "1.6"),
    "nbd-server": Package("nbd-server", "nbd", "the target nbd-server", "3.20"),
    "fio": Package("fio", "fio", "load with verification", "3.19"),
    "mkfs.ext4": Package("e2fsprogs", "e2fsprogs", "file systems on a volume"),
    "certtool": Package("gnutls-bin", "gnutls-utils", "certificates for TLS"),
    "ip": Package("iproute2", "iproute", "a server in a network namespace"),
    "file": Package("file", "file", "the tests of this project"),
}
"""All programs that a case may need, in the order of the doctor's table."""


def missing_programs(names: Iterable[str] = PROGRAMS) -> list[str]:
    """Return the programs of `names` that are not on PATH."""
    return [name for name in names if shutil.which(name) is None]


def package_manager() -> str:
    """Return ``apt`` or ``dnf``, whichever is installed; "" on other systems."""
    for manager, program in (("apt", "apt-get"), ("dnf", "dnf")):
        if shutil.which(program):
            return manager
    return ""


def packages_of(programs: Iterable[str], manager: str) -> list[str]:
    """Return the packages of `manager` that contain `programs`, each once."""
    return list(dict.fromkeys(getattr(PROGRAMS[name], manager or "apt") for name in programs))


def setup_command() -> str:
    """Return the command that installs all that is missing, for an administrator; "" if nothing is.

    This includes what Python needs to create an environment.
    """
    packages = _missing_packages()
    return _install_command(package_manager() or "apt", packages) if packages else ""


def _missing_packages() -> list[str]:
    """Return the packages of missing programs, and on Debian the one of the module ensurepip."""
    packages = packages_of(missing_programs(), package_manager())
    if package_manager() == "apt" and not _has_ensurepip():
        packages.append(_ensurepip_package())
    return packages


def _install_command(manager: str, packages: Iterable[str]) -> str:
    """Return a command; without recommended packages, such as the windows of QEMU."""
    tool = "dnf install" if manager == "dnf" else "apt-get install --no-install-recommends"
    return f"{tool} {' '.join(packages)}"


def install_programs() -> None:
    """Install missing programs as root or with sudo; without either, print the command.

    :raise InstallError: the package manager failed.
    """
    packages = _missing_packages()
    if not packages:
        return
    as_root = root_prefix()
    if not package_manager() or as_root is None:
        note(
            "packages are missing and this user may not install them;"
            f" ask an administrator to run: {setup_command()}"
        )
        if _has_ensurepip():
            note("continuing without them; cases that need them do not run")
        return
    note(f"installing {' '.join(packages)}")
    if package_manager() == "dnf":
        run_or_raise([*as_root, "dnf", "install", "-y", *packages], "dnf install")
    else:
        apt_install(as_root, packages)
    if still := missing_programs():
        note(
            f"still not on PATH: {' '.join(still)};"
            f" {COMMAND} --doctor lists the cases that need them"
        )


def root_prefix() -> list[str] | None:
    """Return the prefix that runs a command as root: nothing or sudo; None if neither works."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    may_ask = sys.stdin.isatty()
    quiet = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo"] if may_ask or quiet.returncode == 0 else None


_APT_INSTALL = """\
set -e
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get install -y -q --no-install-recommends "$@"
"""
"""Installs without starting services: invoke-rc.d(8) asks policy-rc.d, and 101 means no."""


def apt_install(as_root: list[str], packages: list[str]) -> None:
    """Install those of `packages` that this release has; print the names of the others.

    :raise InstallError: apt-get failed, or has none of them.
    """
    run_or_raise([*as_root, "apt-get", "update", "-q"], "apt-get update")
    known = [name for name in packages if _apt_knows(name)]
    if not known:  # apt-get update exits with 0 without a network
        raise InstallError(
            f"apt has none of the packages {' '.join(packages)}; is there a network, and does"
            " /etc/apt/sources.list name a mirror? Then run apt-get update again"
        )
    for name in packages:
        if name not in known:
            note(f"this release has no package {name}")
    command = [*as_root, "sh", "-c", _APT_INSTALL, "sh", *known]
    run_or_raise(command, f"apt-get install {' '.join(known)}")
    if "nbd-server" in known and shutil.which("systemctl"):
        # Cases start their own server; the service must not listen after the next boot.
        disable = [*as_root, "systemctl", "disable", "--quiet", "nbd-server.service"]
        subprocess.run(disable, capture_output=True, check=False)


def _apt_knows(package: str) -> bool:
    show = ["apt-cache", "show", "--no-all-versions", package]
    return subprocess.run(show, capture_output=True, check=False).returncode == 0


def _has_ensurepip() -> bool:
    return importlib.util.find_spec("ensurepip") is not None


def _ensurepip_package() -> str:
    """Return Debian's package of the module ensurepip for the Python that runs this."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    system = Path(sys.executable).resolve() == Path("/usr/bin", version)
    return "python3-venv" if system else f"{version}-venv"


def ensurepip_fix() -> str:
    """Return the command that installs the module ensurepip, a separate package on Debian."""
    return f"apt-get install {_ensurepip_package()}"


def run_or_raise(command: Sequence[str], what: str) -> None:
    """Run `command` quietly.

    :raise InstallError: it failed; the message has the unmet dependency, or the last line of the
        output, where apt and pip print the reason.
    """
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError as error:
        raise InstallError(f"{what} failed: {command[0]}: {error.strerror}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        if any("CERTIFICATE_VERIFY_FAILED" in line for line in lines):
            raise InstallError(
                f"{what} failed: the certificate of the package server is not trusted."
                " If a proxy of your company replaces certificates, set PIP_CERT to the file"
                f" with its CA. Then run {COMMAND} --install again"
            )
        if unmet := [line for line in lines if " : Depends: " in line]:
            raise InstallError(
                f"{what} failed: the package sources do not fit together: {unmet[0]}. Run"
                f" `{what}` yourself until it works, then run {COMMAND} --install again"
            )
        errors = [line for line in lines if line.startswith(("E:", "ERROR:", "Error:"))]
        reason = (errors or lines or ["no output"])[-1]
        raise InstallError(
            f"{what} failed ({reason}); is there a network? Then run {COMMAND} --install again"
        )
