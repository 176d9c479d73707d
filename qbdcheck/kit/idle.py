"""Clients that rest between bursts of requests, perhaps while the backend holds a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blockio.layers import Command
from qbdcheck.clock import pause
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.seed import Seed
from qbdcheck.targets.disk import Disk

_SLOT, _SLOTS, _HELD = 65536, 15, 15
"""The last of the 16 slots of the volume is that of the request that is held."""


def rest(
    disk: Disk,
    nbd_io: Callable[[Disk], NbdIo],
    seed: Seed,
    pauses_s: Iterable[float],
    rules: ArmedRules | None = None,
) -> None:
    """Send bursts on two connections with pauses between, and verify all data.

    After a pause either connection begins, with a write or a read.

    :param disk: of 1 MiB. :param pauses_s: seconds without any request.
    :param rules: hold a write of the first connection during each pause, and release it later.
    :raise AssertionError: a request failed, or data is wrong.
    """
    with nbd_io(disk) as one, nbd_io(disk) as other:
        for number, pause_s in enumerate(pauses_s):
            held = _hold(one, rules) if rules is not None else ""
            if rules is None:
                _burst(one, seed.derive("one", number))
            _burst(other, seed.derive("other", number))
            pause(pause_s)
            first, second = (other, one) if number % 2 == bool(held) else (one, other)
            if number % 2:
                first.read(0, 8192)
            first.write(16384, 8192)
            if rules is None:
                second.read(16384, 8192)
                second.write(0, 8192)
                _burst(one, seed.derive("one", number))
            else:
                rules.resume(held)
                one.finish_all()
                one.write(0, 8192)
                _burst(one, seed.derive("one", number))
                rules.remove(held)
            _burst(other, seed.derive("other", number))
    disk.verify()


def _hold(io: NbdIo, rules: ArmedRules) -> str:
    """Send a write that the backend holds; return the rule."""
    place = _HELD * _SLOT
    rule = rules.add({"event": "write_aio", "action": "hang", "sector": place // 512})
    io.send(Command.WRITE, place, 4096)
    while not rules.seen(rule).held:
        pause(0.002)
    return rule


def _burst(io: NbdIo, seed: Seed) -> None:
    """Send requests to all slots but the last at once, and wait for all."""
    random = seed.stream("burst")
    for slot in random.sample(range(_SLOTS), _SLOTS):
        command = random.choice((Command.WRITE, Command.READ))
        io.send(command, slot * _SLOT, random.choice((4096, 16384)))
    io.finish_all()
    io.flush()
