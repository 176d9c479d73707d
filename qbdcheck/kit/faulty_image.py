"""A qcow2 image whose metadata requests fail: leaks are allowed, corruption and data loss not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from qbdcheck.errors import ProgramError
from qbdcheck.kit.blkdebug import Rule, blkdebug, errno_of_failure, error, fail_nth
from qbdcheck.programs.blockdev import Blockdev, dashed, json_filename, over
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.qemu_io import IoFailed
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import DiskIo

SILENT = -1
"""Result of `FaultyImage.strike` if only the exit of qemu-io shows a failure: a flush."""
NOT_OPENED = -2
"""Result of `FaultyImage.strike` if the image could not be opened."""
CHECKED = (0, 3)
"""Exit statuses of ``qemu-img check``: right, and leaks only (docs/tools/qemu-img.rst)."""
_LONGEST_SWEEP = 400


class FaultyImage:
    """An image on a disk, opened repeatedly with blkdebug between format and volume.

    :param open_io: the fixture ``qemu_io``.
    :param cache: cache mode. If all writes fail from some time on, it must be ``writethrough``:
        qemu-io reports a failed write, but not a failed flush.
    :param options: of the format node, such as ``l2_cache_size``; ``backing`` for a chain.
    """

    def __init__(
        self,
        disk: Disk,
        open_io: Callable[..., DiskIo],
        qemu_img: QemuImg,
        cache: str | None = None,
        **options: object,
    ) -> None:
        self.disk = disk
        self._open_io = open_io
        self._qemu_img = qemu_img
        self._cache = cache
        self._options = dashed(options)

    def blockdev(self, faults: Blockdev | None = None) -> Blockdev:
        """Return the image over blkdebug with these options (of `fail_nth`, or none)."""
        volume = {**blkdebug(self.disk.protocol_blockdev()), **(faults or {})}
        return over(self.disk.format, volume, None) | self._options

    def filename(self, faults: Blockdev | None = None) -> str:
        """Return the result of `blockdev` as one argument for QEMU programs."""
        return json_filename(self.blockdev(faults))

    def strike(self, faults: Blockdev | Rule, act: Callable[[DiskIo], None]) -> int:
        """Open the image with faults, act until a request fails, close it, check it.

        :param faults: options of blkdebug, or a single rule.
        :param act: makes requests; the shadow expects old or new data after a failure.
        :return: the errno of the failed request; `SILENT` or `NOT_OPENED`; 0 if nothing failed.
        :raise AssertionError: the image is corrupt afterwards.
        """
        if "event" in faults:
            faults = {"inject-error": [faults]}
        seen = 0
        try:
            io = self._open_io(self.filename(faults), self._cache, shadow=self.disk.shadow)
        except ProgramError:
            seen = NOT_OPENED
        else:
            try:
                act(io)
            except IoFailed as failed:
                seen = errno_of_failure(failed)
            try:
                io.close()
            except ProgramError as failure:
                if failure.returncode != 1:  # it crashed
                    raise
                seen = seen or SILENT
        self.check()
        return seen

    def strike_events(self, events: str, act: Callable[[DiskIo], None], **conditions: Any) -> None:
        """Strike once at each event; each fault must make a request fail.

        :param events: names of events, space-separated.
        :raise AssertionError: an error was not seen, or the image is corrupt.
        """
        for event in events.split():
            seen = self.strike(error(event, once=True, **conditions), act)
            assert seen != 0, f"an error at {event}: no request failed; did the event fire?"

    def sweep(self, event: str, act: Callable[[DiskIo], None], **conditions: Any) -> Iterator[int]:
        """Strike at the 1st, 2nd, 3rd, ... event until a run has no failure; yield each result.

        :raise AssertionError: the image is corrupt, or the sweep does not end.
        """
        for count in range(1, _LONGEST_SWEEP):
            seen = self.strike(fail_nth(event, count, **conditions), act)
            if seen == 0:
                return
            yield seen
        raise AssertionError(f"the event {event} fired more than {_LONGEST_SWEEP} times")

    def check(self) -> int:
        """Run ``qemu-img check``; return the number of leaked clusters.

        :raise AssertionError: qemu-img finds corruption, or cannot check.
        """
        done = self._qemu_img.run("check", "--output=json", self.filename(), check=False)
        if done.returncode not in CHECKED:
            first = next(iter(done.stderr.splitlines()), f"exit status {done.returncode}")
            raise AssertionError(f"qemu-img check: {first}\n{done.stdout}{done.stderr}")
        return int(json.loads(done.stdout).get("leaks", 0))

    def repair(self) -> None:
        """Free leaked clusters; nothing else may need a repair.

        :raise AssertionError: something else is left.
        """
        self._qemu_img.run("check", "-q", "-r", "leaks", self.filename(), check=False)
        leaks = self.check()
        assert leaks == 0, f"qemu-img check -r leaks left {leaks} leaked clusters"
