"""This case checks that refused requests leave no open files, threads or busy loops in the server.

How: one client sends many writes and reads beyond the end; the open files and threads of the server
must stay. Then clients leave in the middle of a payload that the server refuses: afterwards it uses
no CPU while nobody asks for anything, and serves a new client.
Guards: refusal-leaks-descriptor.
Related: cut-payload-spins.
"""

import contextlib

from qbdcheck.kit import case, pause
from qbdcheck.kit.footprint import cpu_s, expect_no_leak, footprint, settles
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_io import CLOSED
from qbdcheck.kit.nbd_probe import connected, is_serving

COUNT, SPARE = 40, 6
IDLE_S, BUSY_SHARE, WINDOWS, REFUSED_S = 0.3, 0.5, 3, 0.1


@case(
    groups="protocol concurrent quick",
    requires="nbd",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(disk, target):
    ask(disk, 1)
    before = settles(disk.backend, footprint(disk.backend), 0)
    ask(disk, COUNT)
    after = settles(disk.backend, before, SPARE, within_s=12.0)
    expect_no_leak(before, after, SPARE, f"{2 * COUNT} refused requests")
    for _ in range(2):
        with connected(disk) as io, contextlib.suppress(OSError):
            io.client.send_request(Command.WRITE, disk.size, 4096 * target.scale, payload=b"cut")
            pause(REFUSED_S)  # else the reply fails, and nothing waits for the rest of the payload
    assert is_serving(disk), "a new client is not served after clients left in a refused payload"
    # The least of several: a server may compile or collect garbage for a while.
    used = min(busy_s(disk.backend) for _ in range(WINDOWS))
    assert used < IDLE_S * BUSY_SHARE, (
        f"clients left in a refused payload: the server used {used:.2f} s of CPU in {IDLE_S} s in"
        " which nobody asked for anything"
    )
    disk.verify()


def busy_s(backend):
    """Return the seconds of CPU that an idle server uses in `IDLE_S`."""
    before = cpu_s(backend)
    pause(IDLE_S)
    return cpu_s(backend) - before


def ask(disk, count):
    """Have reads and writes beyond the end refused; a server may close the connection at each."""
    with contextlib.ExitStack() as stack:
        io = stack.enter_context(connected(disk))
        for _ in range(count):
            for command in (Command.WRITE, Command.READ):
                if io.must_refuse(command, disk.size, 512) == CLOSED:
                    stack.close()
                    io = stack.enter_context(connected(disk))
