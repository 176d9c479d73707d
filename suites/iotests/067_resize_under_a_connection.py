"""This case checks that a client connected before a resize cannot damage the resized volume.

How: the volume grows and shrinks while a client is connected. Requests inside both sizes must work,
those behind the new end must fail, and what is left must be intact.
Related: resize-not-notified, geometry-change-stale-buffer, oob-past-end, resize-during-copy.
"""

from qbdcheck.kit import NotRun, SetupError, case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.request_errors import RequestHangs, RequestLost


@case(
    groups="size quick protocol",
    requires="nbd resize",
    basis=(
        "POLICY: new-size-is-seen",
        "POLICY: refused-request-changes-nothing",
        "POLICY: grown-part-reads-zero",
    ),
)
def test(new_disk, nbd_io):
    disk = new_disk("4M")
    with nbd_io(disk) as io:
        for size in (6 << 20, 3 << 20):
            try:
                disk.resize(size)
            except SetupError as error:
                raise NotRun(f"the target resizes only without clients: {error}") from error
            try:
                io.write(1 << 20, 8192)
            except RequestHangs:
                raise
            except RequestLost as error:
                raise NotRun(f"the target ends connections when it resizes: {error}") from error
        io.must_refuse(Command.WRITE, 7 << 19, 4096, may_close=False)  # behind the new end
        io.read(1 << 20, 8192)  # on the same connection, which the refusal must keep
    disk.resize(4 << 20)
    disk.verify()
