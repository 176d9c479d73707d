"""The commands of a control socket for rules; arguments and results are plain values.

    rule-add      the keys of a rule                    -> {"id": ID}
    rule-load     text, source (optional): a rules file -> {"ids": [ID, ...]}
    rule-change   id, and the keys to change            -> {}
    rule-del      id, or all: true                      -> the removed rules, as in query-rules
    query-rules   id (optional)                         -> {"state", "seed", "rules", "states"}
    set-rule-state  state                               -> {}
    rule-resume   id (optional: all)                    -> {"resumed": how many requests}

An entry of "rules" is {"id", "rule": its keys, "events", "matches", "fired", "live", "held"}: how
often its event fired, the number of covered requests and of faults, whether the rule can still
fire, and the number of requests that it holds now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from injectors.rules.errors import KeyProblem
from injectors.rules.fields import rule_from
from injectors.rules.model import RuleSet

Arguments = dict[str, Any]
Command = Callable[[Arguments], Any]


class RuleStore(Protocol):
    """The rules of one layer (`injectors.layer.RuleLayer`), which the commands change."""

    def add(self, rules: RuleSet) -> list[str]: ...  # noqa: D102
    def load(self, text: str, source: str = "rules.yaml") -> list[str]: ...  # noqa: D102
    def change(self, identity: str, values: Mapping[str, Any]) -> None: ...  # noqa: D102
    def clear(self) -> list[dict[str, Any]]: ...  # noqa: D102
    def remove(self, identity: str) -> dict[str, Any]: ...  # noqa: D102
    def describe(self) -> dict[str, Any]: ...  # noqa: D102
    def set_state(self, state: int) -> None: ...  # noqa: D102
    def resume(self, identity: str | None = None) -> int: ...  # noqa: D102


def commands_of(layer: RuleStore) -> dict[str, Command]:
    """Return the commands for one layer; a command that fails raises ValueError."""

    def rule_add(arguments: Arguments) -> Any:
        return {"id": layer.add(RuleSet((rule_from(arguments),)))[0]}

    def rule_load(arguments: Arguments) -> Any:
        _only(arguments, {"text": str, "source": str}, required=("text",))
        return {"ids": layer.load(arguments["text"], arguments.get("source", "rules.yaml"))}

    def rule_change(arguments: Arguments) -> Any:
        identity = arguments.get("id")
        if not isinstance(identity, str):
            raise KeyProblem("id", "the id of a rule is required")
        layer.change(identity, {key: arguments[key] for key in arguments if key != "id"})
        return {}

    def rule_del(arguments: Arguments) -> Any:
        _only(arguments, {"id": str, "all": bool})
        if arguments.get("all") is True and "id" not in arguments:
            return layer.clear()
        if "id" not in arguments:
            raise KeyProblem("id", "the id of a rule, or all: true, is required")
        return [layer.remove(arguments["id"])]

    def query_rules(arguments: Arguments) -> Any:
        _only(arguments, {"id": str})
        described = layer.describe()
        if "id" in arguments:
            described["rules"] = [one for one in described["rules"] if one["id"] == arguments["id"]]
            if not described["rules"]:
                raise ValueError(f"there is no rule {arguments['id']}")
        return described

    def set_rule_state(arguments: Arguments) -> Any:
        _only(arguments, {"state": int}, required=("state",))
        layer.set_state(arguments["state"])
        return {}

    def rule_resume(arguments: Arguments) -> Any:
        _only(arguments, {"id": str})
        return {"resumed": layer.resume(arguments.get("id"))}

    return {
        "rule-add": rule_add,
        "rule-load": rule_load,
        "rule-change": rule_change,
        "rule-del": rule_del,
        "query-rules": query_rules,
        "set-rule-state": set_rule_state,
        "rule-resume": rule_resume,
    }


def _only(arguments: Arguments, kinds: dict[str, type], required: tuple[str, ...] = ()) -> None:
    for key, value in arguments.items():
        if key not in kinds:
            raise KeyProblem(key, f"unknown argument; allowed are {', '.join(kinds)}")
        if type(value) is not kinds[key]:
            raise KeyProblem(key, f"{value!r} is not of type {kinds[key].__name__}")
    for key in required:
        if key not in arguments:
            raise KeyProblem(key, "is required")
