"""Rules for nbdkit's filters error and delay, as far as these can express them.

nbdkit-error-filter(1), nbdkit-delay-filter(1). A filter meets every request of a kind, for ever; it
knows no place, no number and no state. Its rates are drawn by chance that no seed repeats, so a
probability is refused as well.
"""

from __future__ import annotations

from injectors.delay import Delay
from injectors.error import Error
from injectors.rules.errors import NotExpressible
from injectors.rules.events import IoType
from injectors.rules.model import Rule, RuleSet, errno_name

ERRNOS = ("EPERM", "EIO", "ENOMEM", "EINVAL", "ENOSPC", "ESHUTDOWN")
METHODS: dict[IoType, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    IoType.READ: ("read_aio", ("pread", "cache"), ("read", "cache")),
    IoType.WRITE: ("write_aio pwritev", ("pwrite",), ("write",)),
    IoType.WRITE_ZEROES: ("pwritev_zero", ("zero",), ("zero",)),
    IoType.DISCARD: ("", ("trim",), ("trim",)),
    IoType.BLOCK_STATUS: ("", ("extents",), ("extents",)),
}
"""Of a kind of request: the events that come just before it is decided, and what the filters error
and delay call it."""


def to_nbdkit(rules: RuleSet) -> list[str]:
    """Return the words for nbdkit's command line that do the same; those of a plugin come between.

    :raise NotExpressible: a rule says more than the filters know; names what.
    """
    if rules.states:
        raise NotExpressible("nbdkit's filters have no states")
    words: list[str] = []
    taken: set[IoType] = set()
    for rule in rules.rules:
        beyond = _beyond(rule)
        if not beyond and rule.kinds & taken:
            beyond = ["second rule for one kind of request"]
        if not beyond and rule.event == "none" and len({one.event for one in rules.rules}) > 1:
            beyond = ["rule on none beside rules on other events"]
        if beyond:
            name = f"rule {rule.name or rule.event}"
            raise NotExpressible(f"{name}: nbdkit's filters have no {', no '.join(beyond)}")
        taken |= rule.kinds
        words += _words(rule)
    return [f"--filter={name}" for name in ("delay", "error") if any(
        word.startswith(f"{name}-") for word in words)] + words  # fmt: skip


def _words(rule: Rule) -> list[str]:
    fault = rule.fault
    words: list[str] = []
    for kind in sorted(rule.kinds, key=lambda kind: kind.value):
        _events, failing, slow = METHODS[kind]
        if isinstance(fault, Error):
            number = errno_name(int(fault.errno))
            for method in failing:
                words += [f"error-{method}={number}", f"error-{method}-rate=100%"]
        elif isinstance(fault, Delay):
            words += [f"delay-{method}={fault.milliseconds:g}ms" for method in slow]
    return words


def _beyond(rule: Rule) -> list[str]:
    """Return what of a rule is beyond the filters."""
    fault, kinds = rule.fault, rule.kinds
    error = fault if isinstance(fault, Error) else None
    delay = fault if isinstance(fault, Delay) else None
    unknown = sorted(kind.value for kind in kinds - METHODS.keys())
    late = rule.event != "none" and any(
        rule.event not in METHODS[kind][0].split() for kind in kinds & METHODS.keys()
    )
    found = [
        (error is None and delay is None, f"action {fault.action}"),
        (error is not None and errno_name(int(error.errno)) not in ERRNOS,
         f"errno but {' '.join(ERRNOS)}"),
        (getattr(fault, "when", "before") != "before", "fault after the request"),
        (delay is not None and bool(delay.jitter), "jitter"),
        (delay is not None and bool(delay.errno), "delay with an errno"),
        (delay is not None and delay.milliseconds % 1 != 0, "part of a millisecond"),
        (bool(unknown), f"{' or '.join(unknown)} (say iotype)"),
        (late, f"event {rule.event} for that iotype"),
        (bool(rule.state), "state"),
        (rule.spans is not None, "sector or offset"),
        (rule.probability != 1, "probability that a seed repeats"),
        (rule.after != 0, "after"),
        (rule.every != 1, "every"),
        (rule.limit is not None, "count"),
        (rule.connections is not None, "connection"),
    ]  # fmt: skip
    return [what for is_beyond, what in found if is_beyond]
