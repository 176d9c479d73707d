"""Functions that decide in a fraction of a microsecond whether a request meets no rule.

They are created again whenever rules are added or removed, for each kind of request whose range
alone decides: its events must arm the same rules in all states, and no event may follow it.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence

from injectors.rules.engine import Engine
from injectors.rules.events import IoType

Passer = Callable[[int, int], bool]
"""A function of offset and length in bytes, the length above 0. It returns True if the request
meets no rule, and has then counted its events. Otherwise it returns False and counts nothing."""


def passer(
    engine: Engine, lock: threading.Lock, iotype: IoType, events: Sequence[str]
) -> Passer | None:
    """Return the function for one kind of request, or None if the engine must decide each.

    :param lock: lock of the engine; the functions take it to count events.
    """
    arms = engine.arms(events)
    if arms is None:
        return None
    armings, armed = arms
    if armed is None:
        return _unarmed(engine, iotype)
    cuts, taken = armed.of_kind(iotype).map()
    if all(taken):
        return None
    version = engine.version

    def passes(offset: int, length: int) -> bool:
        part = bisect_right(cuts, offset)
        # After a part without rules, the next cut is the start of a part with rules.
        if taken[part] or cuts[part] < offset + length:
            return False
        with lock:
            if engine.version != version:
                return False
            engine.active_rules = armed
            for arming in armings:
                arming.count += 1
        return True

    return passes


def _unarmed(engine: Engine, iotype: IoType) -> Passer | None:
    """Return the function for requests whose events arm no rule: rules armed before decide."""
    if not any(one.live and iotype in one.rule.kinds for one in engine.rules):
        return _always
    return lambda offset, length: not engine.may_meet(iotype, offset, length)


def _always(offset: int, length: int) -> bool:
    del offset, length
    return True
