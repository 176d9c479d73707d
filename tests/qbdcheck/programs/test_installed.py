"""The command that lets QEMU's programs reach a server (``client:`` of a profile)."""

from __future__ import annotations

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.programs.installed import Programs


def test_command_comes_before_the_programs_of_qemu_alone() -> None:
    programs = Programs()
    plain = programs.argv("qemu-img", "info")
    programs.reach("/run/one", ["env", "A=1"])
    assert programs.argv("qemu-img", "info") == ["env", "A=1", *plain]
    assert programs.argv("sh", "-c", "true")[0].endswith("/sh")


def test_restarted_server_replaces_its_command_and_a_second_one_is_not_run() -> None:
    programs = Programs()
    programs.reach("/run/one", ["nsenter", "--net=/proc/1/ns/net"])
    programs.reach("/run/one", ["nsenter", "--net=/proc/2/ns/net"])
    assert "--net=/proc/2/ns/net" in programs.argv("qemu-io")
    programs.reach("/run/two", ["nsenter", "--net=/proc/2/ns/net"])
    with pytest.raises(NotRun, match="one server of this target at a time"):
        programs.reach("/run/two", ["nsenter", "--net=/proc/3/ns/net"])
