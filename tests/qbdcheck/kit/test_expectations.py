"""Checks for cases: each accepts correct results, and its message names what is wrong."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from oracles.damage import Damage
from oracles.shadow import Shadow
from qbdcheck.kit.block_job import JobEnd
from qbdcheck.kit.expectations import (
    WrongAnswer,
    errno_name,
    expect_bytes,
    expect_content,
    expect_equal,
    expect_errno,
    expect_failure,
    expect_identical,
    expect_in,
    expect_job_end,
    expect_no_check_errors,
    expect_same,
    expect_size,
    expect_sound,
    expect_zeroes,
    wrong_errno,
)
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.qemu_io import QemuIo
from qbdcheck.programs.requests_sent import forget, resized
from qbdcheck.targets.disk_io import WrongData

STOPPED = JobEnd("Input/output error", ["failed"], [("write", "stop")])


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: expect_same(b"abcd", b"abxd", "the copy"), "the copy: .* byte is number 2 of 4"),
        (lambda: expect_same(b"ab", b"abc", "the copy"), "the copy: expected 3 bytes, got 2"),
        (lambda: expect_equal(1, 2, "the size"), "the size: expected 2, got 1"),
        (lambda: expect_in("full", "no room\n", "write"), "write: expected the text 'full', got"),
        (lambda: expect_zeroes(b"\0\7", "the hole"), "the hole: .* got 0x07 at byte 1"),
        (lambda: expect_job_end(STOPPED, "mirror"), "mirror: expected the end 'success', got 'In"),
        (
            lambda: expect_job_end(STOPPED, "mirror", error="Input/output error", errors=[]),
            r"mirror: expected the BLOCK_JOB_ERROR events \[\], got \[\('write', 'stop'\)\]",
        ),
        (
            lambda: expect_job_end(STOPPED, "mirror", error="Input/output error", stops=[]),
            r"mirror: expected stops with the io-status \[\], got \['failed'\]",
        ),
    ],
)
def test_a_message_names_what_was_expected_and_seen(
    check: Callable[[], None], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check()


def test_what_is_right_passes() -> None:
    expect_same(bytearray(b"ab"), b"ab", "the copy")
    expect_equal([1], [1], "the list")
    expect_in("room", "no room", "write")
    expect_zeroes(bytes(3), "the hole")
    errors = [("write", "stop")]
    expect_job_end(STOPPED, "mirror", error="Input/output error", errors=errors, stops=["failed"])
    assert (errno_name(0), errno_name(5), errno_name(9999)) == ("success", "EIO", "errno 9999")


def test_content_is_compared_with_the_shadow_and_its_length() -> None:
    shadow = Shadow(8192)
    data = shadow.prefill().tobytes()
    expect_content(shadow, 512, data[512:1024], "the copy")
    with pytest.raises(WrongData, match="the copy differs from what was written:\noffset 512 "):
        expect_content(shadow, 0, data[:512] + bytes(512), "the copy")
    with pytest.raises(WrongData):
        expect_content(shadow, 0, data[:512], "the copy", 8192)


def test_a_failure_is_expected_with_its_text() -> None:
    with expect_failure(ValueError, "int('x')", "invalid literal") as caught:
        int("x")
    assert "base 10" in str(caught.value)
    with (
        pytest.raises(AssertionError, match=re.escape("int('1'): expected an error, got success")),
        expect_failure(ValueError, "int('1')"),
    ):
        int("1")
    with (
        pytest.raises(AssertionError, match="expected the text 'no such', got: invalid"),
        expect_failure(ValueError, "int('x')", "no such"),
    ):
        int("x")
    with pytest.raises(KeyError), expect_failure(ValueError, "a lookup"):
        raise KeyError


def test_images_and_requests_are_checked_by_qemu(tmp_path: Path) -> None:
    qemu_img = QemuImg(Programs(), tmp_path)
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    qemu_img("create", "-q", "-f", "qcow2", one, "1M")
    qemu_img("create", "-q", "-f", "raw", other, "1M")
    expect_sound(qemu_img, one)
    expect_no_check_errors(qemu_img, one)
    expect_size(qemu_img, one, 1 << 20)
    expect_identical(qemu_img, one, other)
    with pytest.raises(AssertionError, match="qemu-img info: expected a size of 7 bytes, got 1048"):
        expect_size(qemu_img, one, 7)
    argv = Programs().argv("qemu-io", "-f", "raw", other)
    with QemuIo(argv, tmp_path) as io:
        expect_errno(io, "read 1M 512", 5, 22)
        message = "qemu-io 'read 0 512': expected EIO or EINVAL, got success"
        with pytest.raises(AssertionError, match=message):
            expect_errno(io, "read 0 512", 5, 22)


def test_a_wrong_errno_and_a_wrong_size_are_findings() -> None:
    with pytest.raises(WrongAnswer, match="READ: expected EINVAL or EPERM, got EIO") as caught:
        raise wrong_errno("READ", errno.EIO, errno.EINVAL, errno.EPERM)
    (finding,) = caught.value.findings
    assert finding.damage is Damage.ERROR and finding.text == str(caught.value)
    with pytest.raises(WrongAnswer, match="disk: expected a size of 2 bytes, got 1") as caught:
        expect_bytes(1, 2, "disk")
    assert [one.damage for one in caught.value.findings] == [Damage.SIZE]
    expect_bytes(2, 2, "disk")
    resized("disk", 1, 2)
    resized("disk", 2, 4)
    try:
        with pytest.raises(WrongAnswer, match=r"got 1; disk had grown from 1 to 2 bytes$"):
            expect_bytes(1, 2, "disk")
        with pytest.raises(WrongAnswer, match=r"expected a size of 8 bytes, got 1$"):
            expect_bytes(1, 8, "disk")
    finally:
        forget()
