"""QEMU's blkdebug driver over a node: rules that fail requests, states, and tighter limits.

Reference: qapi/block-core.json, BlockdevOptionsBlkdebug; block/blkdebug.c. An event
activates the rules that name it; they stay active until another event activates other rules.
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
    """Return an ``inject-error`` rule.

    :param number: the errno of the failed request; 0: the rule matches and does nothing.
    :param conditions: ``iotype``, ``sector`` (512 bytes), ``state``, ``once``, ``immediately``.
    """
    return {"event": event, "errno": number, **conditions}


def state_change(event: str, state: int, new_state: int) -> Rule:
    """Return a ``set-state`` rule. blkdebug starts in state 1; 0 means any state."""
    return {"event": event, "state": state, "new_state": new_state}


def fail_nth(event: str, count: int, number: int = numbers.EIO, **conditions: object) -> Blockdev:
    """Return blkdebug options that fail a request at the ``count``-th event (from 1).

    State ``n`` means that the event has fired ``n - 1`` times since the node was opened.
    """
    steps = [state_change(event, state, state + 1) for state in range(1, count + 1)]
    return {"inject-error": [error(event, number, state=count, **conditions)], "set-state": steps}


def blkdebug(
    image: Blockdev | str,
    *rules: Rule,
    states: Sequence[Rule] = (),
    node_name: str | None = None,
    **options: object,
) -> Blockdev:
    """Return a blkdebug node over another node, given as options or by its name.

    :param options: limits in bytes, such as ``align``, ``max_transfer``, ``opt_write_zero``.
    """
    made = node("blkdebug", node_name, image=image, **options)
    if rules:
        made["inject-error"] = list(rules)
    if states:
        made["set-state"] = list(states)
    return made


def errno_of(io: QemuIo, command: str) -> int:
    """Run a data command of qemu-io; return 0, or the errno of its failure.

    The shadow does not follow: use it for requests that must fail and change nothing.
    """
    try:
        io.request(command)
    except IoFailed as failed:
        return errno_of_failure(failed)
    return 0


def errno_of_failure(failed: IoFailed) -> int:
    """Return the errno whose text qemu-io printed.

    :raise IoFailed: the same failure, if its text belongs to no errno.
    """
    if failed.reason not in _NUMBERS:
        raise failed
    return _NUMBERS[failed.reason]


def start_and_hold(io: QemuIo, event: str, tag: str, command: str) -> None:
    """Start an ``aio_`` command of qemu-io and hold its request at an event (a breakpoint).

    The qemu-io command ``resume TAG`` releases the request.
    """
    io(f"break {event} {tag}")
    io(command)
    io(f"wait_break {tag}")
