"""The command line of domxml-to-native, taken apart."""

import json
import shlex

import pytest

from qbdcheck.errors import CaseBroken
from qbdcheck.kit.libvirt.native import native_of, options_of

STORAGE = {"driver": "nbd", "server": {"type": "unix", "path": "/s"}, "node-name": "s",
           "discard": "unmap"}  # fmt: skip
FORMAT = {"driver": "raw", "file": "s", "node-name": "f", "cache": {"direct": True}}
COPY = {"driver": "copy-on-read", "file": "f", "node-name": "c"}
DEVICE = {"driver": "virtio-blk-pci", "bus": "pci.0", "drive": "c", "id": "d", "serial": "x"}


def command(*pairs: tuple[str, object]) -> str:
    words = ["A=b", "/qemu", "-S"]
    for option, value in pairs:
        words += [option, json.dumps(value)]
    return shlex.join(words)


def test_a_disk_has_its_storage_below_all_other_nodes() -> None:
    native = native_of(
        command(("-blockdev", STORAGE), ("-blockdev", FORMAT), ("-blockdev", COPY),
                ("-device", {"driver": "virtio-scsi-pci"}), ("-device", DEVICE))
    )  # fmt: skip
    disk = native.disk()
    assert disk.storage == STORAGE
    assert disk.node == COPY
    assert disk.behaviour == {"driver": "virtio-blk-pci", "serial": "x"}
    assert native.device("virtio-scsi-pci") == {"driver": "virtio-scsi-pci"}


def test_what_is_not_there_breaks_the_case() -> None:
    native = native_of(command(("-blockdev", STORAGE), ("-device", {**DEVICE, "drive": "s"})))
    with pytest.raises(CaseBroken, match="QEMU gets 1 disks, none with the number 1"):
        native.disk(1)
    with pytest.raises(CaseBroken, match="QEMU gets no device nvme"):
        native.device("nvme")


def test_options_are_in_order_and_without_what_all_nodes_have() -> None:
    options = {**STORAGE, "list": [{"b": 1, "a": 2}]}
    assert options_of(options) == "driver=nbd list=[{a=2 b=1}] server={path=/s type=unix}"
