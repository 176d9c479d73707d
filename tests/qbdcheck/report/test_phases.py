"""A phase is in the title of a cause only if the events or the message of a failure have it."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

from oracles.damage import Damage, Operation
from oracles.finding import Finding
from oracles.life import KILLED, Moment
from qbdcheck.report.causes import causes_of
from qbdcheck.verdict import Verdict


def test_a_title_names_no_crash_that_the_life_of_the_damage_does_not_show(
    runs: ModuleType,
) -> None:
    wrote, read = Moment("write", 5, 4096, 4096, 1.0), Moment("read", 0, 4096, 4096, 3.0)
    for life, named in (
        ((wrote, read), ""),
        ((wrote, Moment("cut", at_s=2.0), read), ", after a power cut"),
        ((wrote, Moment("cut", at_s=2.0, text=KILLED), read), ", after SIGKILL"),
        ((wrote, Moment("restart", at_s=2.0), read), ", after a stop and a start"),
        ((), ""),
    ):
        write = (Operation(5, 4096, 4096, "write"),)
        found = Finding(Damage.ZEROED, 4096, 4096, last_writes=write, life=life)
        ended = runs.ended(2, Verdict.FAIL, message=str(found), findings=(found,))
        (cause,) = causes_of([replace(ended, groups=("crash",))])
        assert re.findall(r", after [^,:;]*", cause.title) == ([named] if named else [])


def test_a_phase_of_a_failure_without_a_life_is_in_its_text(runs: ModuleType) -> None:
    answer = "LIST: the reply has magic 0x1, not 0x3e889045565a9"
    for message, group, phrase in (
        (f"{answer}; after the daemon was killed", "crash", "after a crash or a restart"),
        (answer, "crash", ""),
        (f"{answer}; 3 requests in flight", "concurrent", "with requests in flight"),
        (answer, "concurrent", ""),
    ):
        found = Finding(Damage.PROTOCOL, remark=answer)
        ended = runs.ended(4, Verdict.FAIL, message=message, findings=(found,))
        (cause,) = causes_of([replace(ended, groups=(group,))])
        assert "break the protocol" in cause.title
        assert ([phrase] if phrase else []) == re.findall(r"after a .*|with req.*", cause.title)
