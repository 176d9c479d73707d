"""LUKS images of cases that make their images themselves."""

from __future__ import annotations

from qbdcheck.programs.luks_clock import until_measured
from qbdcheck.programs.qemu_img import QemuImg


def create_luks(qemu_img: QemuImg, *arguments: str) -> None:
    """Run ``qemu-img create`` for an image with a LUKS header.

    :raise AssertionError: it failed.
    :raise CaseBroken: QEMU cannot measure the key derivation on this machine.
    """
    done = until_measured(lambda: qemu_img.run("create", "-q", *arguments, check=False))
    assert done.returncode == 0, f"qemu-img create fails: {done.stderr}"
