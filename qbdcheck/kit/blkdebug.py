"""QEMU's blkdebug over a node: rules that fail requests, chains of states, tighter limits.

Reference: qapi/block-core.json, BlockdevOptionsBlkdebug; block/blkdebug.c. A rule becomes active
when its event fires, and stays so until another event activates other rules.
"""

from __future__ import annotations

import errno as numbers
import os
from collections.abc import Sequence
from typing import Any

from qbdcheck.programs.blockdev import Blockdev, node
from qbdcheck.programs.qemu_io import IoFailed, QemuIo

Rule = dict[str, Any]
_NUMBERS = {os.strerror(number): number for number in numbers.errorcode}


def error(event: str = "none", number: int = numbers.EIO, **conditions: object) -> Rule:
    """Return a rule of ``inject-error``.

    :param number: the errno that the request fails with; 0 matches and does nothing.
    :param conditions: ``iotype``, ``sector`` (512 bytes), ``state``, ``once``, ``immediately``.
    """
    return {"event": event, "errno": number, **conditions}


def change(event: str, state: int, new_state: int) -> Rule:
    """Return a rule of ``set-state``; the engine starts in state 1, and 0 means any state."""
    return {"event": event, "state": state, "new_state": new_state}


def nth(event: str, count: int, number: int = numbers.EIO, **conditions: object) -> Blockdev:
    """Return the options by which an event's ``count``-th time (from 1) makes a request fail.

    State ``n`` means that the event has come ``n - 1`` times since the node was opened.
    """
    steps = [change(event, state, state + 1) for state in range(1, count + 1)]
    return {"inject-error": [error(event, number, state=count, **conditions)], "set-state": steps}


def blkdebug(
    image: Blockdev | str,
    *rules: Rule,
    states: Sequence[Rule] = (),
    node_name: str | None = None,
    **options: object,
) -> Blockdev:
    """Return a blkdebug node over another node (or the name of one).

    :param options: limits in bytes, such as ``align``, ``max_transfer``, ``opt_write_zero``.
    """
    made = node("blkdebug", node_name, image=image, **options)
    if rules:
        made["inject-error"] = list(rules)
    if states:
        made["set-state"] = list(states)
    return made


def outcome(io: QemuIo, command: str) -> int:
    """Run a data command of qemu-io past the shadow; return 0, or the errno it failed with.

    What it writes the shadow does not know: for a request that must fail and change nothing.
    """
    try:
        io.request(command)
    except IoFailed as failed:
        return number_of(failed)
    return 0


def number_of(failed: IoFailed) -> int:
    """Return the errno whose text qemu-io printed.

    :raise IoFailed: the same failure, where its text is that of no errno.
    """
    if failed.reason not in _NUMBERS:
        raise failed
    return _NUMBERS[failed.reason]


def hold(io: QemuIo, event: str, tag: str, command: str) -> None:
    """Start a request of qemu-io (an ``aio_`` command) and hold it when it raises an event.

    ``resume TAG`` of qemu-io lets it go on.
    """
    io(f"break {event} {tag}")
    io(command)
    io(f"wait_break {tag}")
