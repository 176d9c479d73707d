"""Convert rules to nbdkit's filters error and delay, as far as these can express them.

nbdkit-error-filter(1), nbdkit-delay-filter(1). A filter applies to every request of a kind, without
ranges, counts and states. A probability is refused, because no seed repeats the filter's rates.
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
"""For each kind of request, the events just before its decision, and its names in the filters error
and delay."""


def to_nbdkit(rules: RuleSet) -> list[str]:
    """Return arguments for nbdkit that have the same effect; those of a plugin go between them.

    :raise NotExpressible: the filters cannot express a rule; the message says why.
    """
    if rules.states:
        raise NotExpressible("nbdkit's filters have no states")
    arguments: list[str] = []
    taken: set[IoType] = set()
    for rule in rules.rules:
        beyond = _beyond(rule)
        if not beyond and rule.kinds & taken:
            beyond = ["second rule for one kind of request"]
        if not beyond and rule.event == "none" and len({one.event for one in rules.rules}) > 1:
            beyond = ["rule on none together with rules on other events"]
        if beyond:
            name = f"rule {rule.name or rule.event}"
            raise NotExpressible(f"{name}: nbdkit's filters have no {', no '.join(beyond)}")
        taken |= rule.kinds
        arguments += _arguments(rule)
    return [f"--filter={name}" for name in ("delay", "error") if any(
        word.startswith(f"{name}-") for word in arguments)] + arguments  # fmt: skip


def _arguments(rule: Rule) -> list[str]:
    fault = rule.fault
    arguments: list[str] = []
    for kind in sorted(rule.kinds, key=lambda kind: kind.value):
        _events, failing, slow = METHODS[kind]
        if isinstance(fault, Error):
            number = errno_name(int(fault.errno))
            for method in failing:
                arguments += [f"error-{method}={number}", f"error-{method}-rate=100%"]
        else:
            assert isinstance(fault, Delay)
            arguments += [f"delay-{method}={fault.milliseconds:g}ms" for method in slow]
    return arguments


def _beyond(rule: Rule) -> list[str]:
    """Return the parts of a rule that the filters cannot express."""
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
