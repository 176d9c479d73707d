"""Checks whose failure message names the request, what was expected and what was seen."""

from __future__ import annotations

import errno as numbers
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from oracles.damage import Content, Damage
from oracles.damage import error as outcome
from oracles.damage import size as size_of
from oracles.finding import Finding, Findings
from oracles.shadow import Shadow
from oracles.stamps import Data
from qbdcheck.kit.blkdebug import errno_of
from qbdcheck.kit.block_job import JobEnd
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.qemu_io import QemuIo
from qbdcheck.programs.requests_sent import resize_to
from qbdcheck.targets.disk_io import WrongData

_Error = TypeVar("_Error", bound=BaseException)


class WrongAnswer(AssertionError):  # noqa: N818  # a verdict, as WrongData
    """A request has another outcome, or a volume another size, than the right one.

    :ivar findings: the same as data, for reports.
    """

    def __init__(self, text: str, damage: Damage, expected: Content | None, seen: Content) -> None:
        super().__init__(text)
        self.findings = Findings([Finding(damage, expected=expected, seen=seen, remark=text)])


@contextmanager
def recommended(section: str) -> Iterator[None]:
    """Give each failed assertion of the block a SHOULD as its basis.

    :param section: document and section, as in ``basis=``: ``"NBD, NBD_OPT_LIST"``.
    """
    try:
        yield
    except AssertionError as error:
        error.__dict__["basis"] = (f"SHOULD: {section}",)
        raise


def wrong_errno(request: str, seen: int, *errnos: int) -> WrongAnswer:
    """Return the error of a request whose errno is none of ``errnos``; 0 is success.

    :param errnos: the right ones; none if any error is right.
    """
    wanted = " or ".join(map(errno_name, errnos)) or "an error"
    text = f"{request}: expected {wanted}, got {errno_name(seen)}"
    expected = outcome(errnos[0]) if errnos else None
    return WrongAnswer(text, Damage.ERROR, expected, outcome(seen))


def errno_name(number: int) -> str:
    """Return the name of an errno, such as ``EIO``; ``success`` for 0.

    A negative number is a failure without errno (`qbdcheck.kit.faulty_image`), or
    `qbdcheck.kit.nbd_io.CLOSED`.
    """
    if number == -numbers.ECONNRESET:
        return "a closed connection without a reply"
    if number < 0:
        return f"a failure without errno ({number})"
    return numbers.errorcode.get(number, f"errno {number}") if number else "success"


def expect_result(seen: int, expected: int, request: str) -> None:
    """Compare the errno of a request, 0 for success, with the one that is right.

    :raise WrongAnswer: it is another.
    """
    if seen != expected:
        raise wrong_errno(request, seen, expected)


def expect_bytes(seen: int, expected: int, what: str) -> None:
    """Compare the size of a volume, an export or an image, in bytes.

    :raise WrongAnswer: it is another.
    """
    if seen != expected:
        text = f"{what}: expected a size of {expected} bytes, got {seen}"
        resize = resize_to(expected)
        text += f"; {resize}" if resize else ""
        raise WrongAnswer(text, Damage.SIZE, size_of(expected), size_of(seen))


def expect_content(
    shadow: Shadow, offset: int, data: Data, what: str, length: int | None = None
) -> None:
    """Compare data with the shadow from ``offset`` on, in bytes. The shadow does not change.

    :param what: where the data comes from.
    :param length: how many bytes there must be; by default as many as there are.
    :raise WrongData: with a diagnosis per run of sectors.
    """
    findings = shadow.check(offset, data, length)
    if findings:
        raise WrongData(f"{what} differs from what was written", findings)


def expect_same(seen: Data, expected: Data, what: str) -> None:
    """Compare two byte strings.

    :raise AssertionError: they differ; with both lengths and the first difference.
    """
    one, two = bytes(seen), bytes(expected)
    if one == two:
        return
    assert len(one) == len(two), f"{what}: expected {len(two)} bytes, got {len(one)}"
    at = next(place for place in range(len(one)) if one[place] != two[place])
    raise AssertionError(
        f"{what}: the first wrong byte is number {at} of {len(one)}: "
        f"expected {two[at : at + 8].hex(' ')}, got {one[at : at + 8].hex(' ')}"
    )


def expect_errno(io: QemuIo, command: str, *errnos: int) -> None:
    """Run a command of qemu-io that must fail with one of ``errnos``, past the shadow.

    :raise WrongAnswer: it succeeded, or failed with another errno.
    """
    seen = errno_of(io, command)
    if seen not in errnos:
        raise wrong_errno(f"qemu-io '{command}'", seen, *errnos)


class Caught(Generic[_Error]):
    """The result of `expect_failure`: ``value`` is the exception."""

    value: _Error


@contextmanager
def expect_failure(kind: type[_Error], request: str, text: str = "") -> Iterator[Caught[_Error]]:
    """Run a block that must raise ``kind``; give its exception as ``.value`` afterwards.

    :param request: what the block requests, for the message.
    :param text: must be in the text of the exception.
    :raise WrongAnswer: the block succeeded. :raise AssertionError: the text is another.
    """
    caught: Caught[_Error] = Caught()
    try:
        yield caught
    except kind as error:
        caught.value = error
        expect_in(text, str(error), request)
    else:
        raise wrong_errno(request, 0)


def expect_sound(qemu_img: QemuImg, filename: str) -> None:
    """Check an image with ``qemu-img check``.

    :raise ProgramError: it found errors.
    :raise AssertionError: it does not report that all is well.
    """
    printed = qemu_img("check", filename)
    assert "No errors were found" in printed, f"qemu-img check reports: {printed}"


def expect_no_check_errors(qemu_img: QemuImg, filename: str) -> None:
    """Check an image with ``qemu-img check``; leaked clusters are allowed.

    :raise AssertionError: it found errors.
    """
    errors = qemu_img.json("check", filename)["check-errors"]
    assert errors == 0, f"qemu-img check: expected no errors, got {errors}"


def expect_size(qemu_img: QemuImg, filename: str | os.PathLike[str], size: int) -> None:
    """Compare the virtual size that ``qemu-img info`` reports, in bytes.

    :raise WrongAnswer: it is another.
    """
    expect_bytes(qemu_img.json("info", filename)["virtual-size"], size, "qemu-img info")


def expect_identical(qemu_img: QemuImg, *arguments: str | os.PathLike[str]) -> None:
    """Compare two images with ``qemu-img compare``.

    :param arguments: of the command: the names of both, after any options.
    :raise ProgramError: they differ. :raise AssertionError: it does not report that they are equal.
    """
    printed = qemu_img("compare", *arguments)
    assert "identical" in printed, f"qemu-img compare reports: {printed}"


def expect_job_end(
    end: JobEnd,
    job: str,
    *,
    error: str = "",
    errors: Sequence[tuple[str, str]] | None = None,
    stops: Sequence[str] | None = None,
) -> None:
    """Compare how a block job ended.

    :param job: names the job and its policy in the message.
    :param error: the error of the job, empty for success.
    :param errors: operation and action of each BLOCK_JOB_ERROR; None for any.
    :param stops: the io-status at each stop; None for any.
    :raise AssertionError: it ended differently.
    """
    assert end.error == error, (
        f"{job}: expected the end {error or 'success'!r}, got {end.error or 'success'!r}"
    )
    assert errors is None or end.errors == list(errors), (
        f"{job}: expected the BLOCK_JOB_ERROR events {list(errors or ())}, got {end.errors}"
    )
    assert stops is None or end.stops == list(stops), (
        f"{job}: expected stops with the io-status {list(stops or ())}, got {end.stops}"
    )


def expect_equal(seen: object, expected: object, what: str) -> None:
    """Compare two values.

    :raise AssertionError: they differ.
    """
    assert seen == expected, f"{what}: expected {expected!r}, got {seen!r}"


def expect_in(text: str, printed: str, what: str) -> None:
    """Look for a text in what a program or an error says.

    :raise AssertionError: it is not there.
    """
    assert text in printed, f"{what}: expected the text {text!r}, got: {printed.strip()}"


def expect_zeroes(data: Data, what: str) -> None:
    """Check that all bytes are zero.

    :raise AssertionError: one is not; with the place of the first.
    """
    seen = bytes(data)
    rest = seen.lstrip(b"\0")
    wrong = len(seen) - len(rest)
    assert not rest, f"{what}: expected zeroes, got {seen[wrong]:#04x} at byte {wrong}"
