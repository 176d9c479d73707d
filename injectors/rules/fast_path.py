"""Functions that tell in a fraction of a microsecond whether a request meets no rule.

They are made anew whenever a rule comes or goes, for each kind of request that can be judged by its
place alone: what its events arm must not depend on the state, and no event may follow it.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence

from injectors.rules.engine import Engine
from injectors.rules.events import IoType

Passer = Callable[[int, int], bool]
"""From offset and length in bytes, the length above 0, to whether the request meets no rule. True
means that it was noted as the engine would have, False that nothing was."""


def passer(
    engine: Engine, lock: threading.Lock, iotype: IoType, events: Sequence[str]
) -> Passer | None:
    """Return the function for one kind of request, None where each must be asked for.

    :param lock: held while the engine is changed; the functions take it to note a request.
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
        # From a part where nothing is, the next cut is where something begins.
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
    """Return the function for requests whose events arm nothing: what others armed decides."""
    if not any(one.live and iotype in one.rule.kinds for one in engine.rules):
        return _always
    return lambda offset, length: not engine.may_meet(iotype, offset, length)


def _always(offset: int, length: int) -> bool:
    del offset, length
    return True
