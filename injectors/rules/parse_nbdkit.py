"""Read the parameters of nbdkit's filters error and delay, as `nbdkit.to_nbdkit` writes them.

A filter has no events, so each rule is armed from the start (event none). Other parameters, of a
plugin or of nbdkit itself, are skipped. What the filters can do and a rule cannot is refused:
``error-file``, ``delay-open``, an error for reads without the same error for cache requests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

from injectors.delay import Delay
from injectors.error import Error
from injectors.rules.errors import RuleSyntaxError
from injectors.rules.events import EVERY_OPEN, IoType
from injectors.rules.fault import Errno, Fault
from injectors.rules.model import Rule, RuleSet, errno_number
from injectors.rules.nbdkit import ERRNOS, METHODS

_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)?")
_RATE = re.compile(r"(\d+(?:\.\d+)?(?:[eE]-?\d+)?)(%?)")


def read(text: str, source: str = "nbdkit") -> RuleSet:
    """Return the rules of a command line of nbdkit.

    :raise RuleSyntaxError: a parameter of the filters is wrong, or no rule can express it.
    """
    try:
        arguments = shlex.split(text, comments=True)
    except ValueError as error:
        raise RuleSyntaxError(source, 1, f"{str(error).lower()} in the command line") from None
    filters = _Filters()
    for argument in arguments:
        name, _, value = argument.partition("=")
        try:
            filters.take(name, value)
        except ValueError as error:
            raise RuleSyntaxError(source, 1, f"{argument}: {error}") from None
    try:
        rules = [rule for kind in filters.kinds() for rule in filters.rules(kind)]
    except ValueError as error:
        raise RuleSyntaxError(source, 1, str(error)) from None
    return RuleSet(tuple(rules))


class _Filters:
    """The parameters of both filters, by method; the defaults are nbdkit's."""

    def __init__(self) -> None:
        failing = [name for _, names, _ in METHODS.values() for name in names]
        slow = [name for _, _, names in METHODS.values() for name in names]
        self._errnos = dict.fromkeys(failing, errno_number("EIO"))
        self._rates = dict.fromkeys(failing, 0.0)
        self._delays_ms = dict.fromkeys(slow, 0.0)
        self._named: list[str] = []

    def take(self, name: str, value: str) -> None:
        """Take over one parameter; skip those that are not of these filters.

        :raise ValueError: the value is wrong, or no rule can express the parameter.
        """
        filter_, _, method = name.partition("-")
        if filter_ == "delay":
            self._delays_ms[_known(method, self._delays_ms)] = _milliseconds(value)
            self._named.append(method)
        elif name in {"rdelay", "wdelay"}:
            raise ValueError(f"use delay-METHOD; methods are {', '.join(self._delays_ms)}")
        elif filter_ == "error" and method.endswith("rate"):
            method = method.removesuffix("rate").removesuffix("-")
            self._rates |= dict.fromkeys(_chosen(method, self._rates), _rate(value))
            self._named.append(method)
        elif filter_ == "error":
            self._errnos |= dict.fromkeys(_chosen(method, self._errnos), _errno(value))

    def kinds(self) -> list[IoType]:
        """Return all kinds of request, first those of named methods in the order of the text."""
        of_method = {
            name: kind for kind, (_, *both) in METHODS.items() for names in both for name in names
        }
        named = [of_method[method] for method in self._named if method]
        return list(dict.fromkeys([*named, *METHODS]))

    def rules(self, kind: IoType) -> list[Rule]:
        """Return the rule for one kind of request, or none.

        :raise ValueError: no rule can express the parameters of this kind.
        """
        _, failing, slow = METHODS[kind]
        rates = {self._rates[method] for method in failing}
        numbers = {self._errnos[method] for method in failing} if rates != {0.0} else {0}
        times_ms = {self._delays_ms[method] for method in slow}
        for values, methods in ((rates, failing), (numbers, failing), (times_ms, slow)):
            if len(values) > 1:
                raise ValueError(f"no rule can express different {' and '.join(methods)}")
        rate, number, time_ms = rates.pop() or 1.0, Errno(numbers.pop()), times_ms.pop()
        if number and time_ms and rate != 1:
            raise ValueError(f"no rule can express a delay with an error at a rate ({failing[0]})")
        fault: Fault = Delay(time_ms, errno=number) if time_ms else Error(number)
        is_rule = number or time_ms
        iotypes = frozenset({kind})
        return [Rule(EVERY_OPEN, fault, iotypes=iotypes, probability=rate)] if is_rule else []


def _chosen(method: str, known: Collection[str]) -> Collection[str]:
    """Return the methods that a parameter is for; all if it names none."""
    return [_known(method, known)] if method else known


def _known(method: str, known: Collection[str]) -> str:
    if method not in known:
        raise ValueError(f"no rule can express this; methods are {', '.join(known)}")
    return method


def _milliseconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be a time, such as 200ms or 1.5")
    return float(match[1]) * (1 if match[2] == "ms" else 1000)


def _rate(text: str) -> float:
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= rate <= 1:
        raise ValueError("must be a rate from 0 to 1, or from 0% to 100%")
    return rate


def _errno(text: str) -> int:
    if text not in ERRNOS:
        raise ValueError(f"must be one of {', '.join(ERRNOS)}")
    return errno_number(text)
