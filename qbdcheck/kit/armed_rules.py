"""Fault rules on a running target, and their counters.

Rules are armed over the target's control socket if it has the commands for rules, as the reference
backend does; otherwise in a proxy in front of the target's NBD server. A case whose rule never
fired proves nothing: it is BROKEN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qbdcheck import clock
from qbdcheck.errors import CaseBroken, QbdcheckError
from qbdcheck.kit.fault_proxy import FaultProxy
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.qmp import QmpFailed
from qbdcheck.runner import measures
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.volume_state import State


@dataclass(frozen=True)
class Seen:
    """Counters of a rule: events, matching requests, requests hit, and requests held now."""

    events: int
    matches: int
    fired: int
    held: int


class ArmedRules:
    """The fixture `rules`: arms, counts and disarms faults on one disk's backend.

    :param log: writes to full.log. :param seed: seed of random rules, in a proxy.
    :raise NotRun: the target cannot take faults.
    """

    def __init__(self, disk: Disk, log: Callable[..., None], seed: int = 0) -> None:
        self._backend = disk.backend
        self._log = log
        self._seed = seed
        self._silent: dict[str, str] = {}
        self._counted: dict[str, int] = {}
        self._others: list[ArmedRules] = []
        self._proxy = None if self._has_rules() else FaultProxy(disk.backend, seed)

    def _has_rules(self) -> bool:
        if self._backend.description.control is None:
            return False
        known = self._backend.control_client().execute("query-commands")
        return any(command["name"] == "rule-add" for command in known)

    def on(self, disk: Disk) -> ArmedRules:
        """Return the rules of another disk's backend; they are disarmed together with these."""
        other = ArmedRules(disk, self._log, self._seed)
        self._others.append(other)
        return other

    def add(self, rule: Mapping[str, Any]) -> str:
        """Arm a rule, written as in docs/rules.md; return its id.

        :raise CaseBroken: the rule is wrong.
        """
        identity: str = self._execute("rule-add", **rule)["id"]
        self._watch([identity])
        return identity

    def load(self, text: str) -> list[str]:
        """Arm the rules of a YAML text; return their ids. Raises as `add` does."""
        identities: list[str] = self._execute("rule-load", text=text)["ids"]
        self._watch(identities)
        return identities

    def seen(self, identity: str) -> Seen:
        """Return the counters of a rule."""
        [rule] = self._execute("query-rules", id=identity)["rules"]
        return Seen(rule["events"], rule["matches"], rule["fired"], rule["held"])

    def wait_fired(self, identity: str, within_s: float = 30.0) -> None:
        """Wait until a rule has fired.

        :raise CaseBroken: it does not fire in time.
        """
        limit = Limit(within_s)
        while not self.seen(identity).fired:
            if limit.is_over:
                late = f"the rule {identity} did not fire within {limit.seconds:g} s"
                raise CaseBroken(late) from TimeoutError(late)
            clock.pause(0.01)

    def change(self, identity: str, **values: Any) -> None:
        """Change keys of a rule; what it hit before still counts."""
        self._note(self._execute("query-rules", id=identity)["rules"])
        self._execute("rule-change", id=identity, **values)

    def remove(self, identity: str) -> None:
        """Disarm a rule, and release the requests that it holds."""
        self._note(self._execute("rule-del", id=identity))

    def heal(self) -> None:
        """Disarm all rules, and release the requests that they hold."""
        self._note(self._execute("rule-del", all=True))

    def resume(self, identity: str | None = None) -> int:
        """Release the requests that a rule holds, or all; return their number."""
        chosen = {} if identity is None else {"id": identity}
        return int(self._execute("rule-resume", **chosen)["resumed"])

    def set_state(self, state: int) -> None:
        """Set the state of the rules."""
        self._execute("set-rule-state", state=state)

    def settle(self, *, must_fire: bool = True) -> None:
        """Disarm all rules at the end of the case.

        :param must_fire: the case came to its end; one that cannot run may leave rules unused.
        :raise CaseBroken: a rule without ``may_not_fire`` never fired.
        """
        for other in self._others:
            other.settle(must_fire=must_fire)
        if self._proxy is not None or self._backend.state is State.RUNNING:
            try:
                self.heal()
            except QbdcheckError as error:
                self._log(f"rules: not disarmed: {error}")
        if self._proxy is not None:
            self._proxy.close()
        if self._silent and must_fire:
            rules = "; ".join(self._silent.values())
            raise CaseBroken(f"a fault never fired: {rules}")

    def _watch(self, identities: list[str]) -> None:
        for rule in self._execute("query-rules")["rules"]:
            if rule["id"] in identities and not rule["rule"].get("may_not_fire"):
                self._silent[rule["id"]] = f"{rule['id']}: {rule['rule']}"

    def _note(self, rules: list[dict[str, Any]]) -> None:
        for rule in rules:
            self._log(f"rules: {rule}")
            before = self._counted.get(rule["id"], 0)
            measures.count(measures.FAULTS, max(rule["fired"] - before, 0))
            self._counted[rule["id"]] = max(rule["fired"], before)
            if rule["fired"]:
                self._silent.pop(rule["id"], None)

    def _execute(self, command: str, **arguments: Any) -> Any:
        control = self._proxy.qmp if self._proxy else self._backend.control_client()
        try:
            return control.execute(command, arguments)
        except QmpFailed as error:
            raise CaseBroken(f"{command}: {error.description}") from None
