"""A diagnosis names a bug by its findings; the text counts only for other failures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from mutants.catalogue import catalogue
from mutants.mutant import Mutant
from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.mutation.expectation import (
    EFFECTS,
    expected_damage,
    findings_in,
    is_named,
    without_id,
)


def bug(name: str, shows: tuple[str, ...], says: str = "") -> type[Mutant]:
    """Return a stand-in for a mutant; a subclass would stay in the catalogue."""
    return cast("type[Mutant]", SimpleNamespace(id=name, shows=shows, says=says))


Torn = bug("torn-apart", ("torn",), r"apart|hung up")
Loses = bug("loses", ("lost write", "hang"))


@pytest.mark.parametrize(
    ("mutant", "damage", "text", "named"),
    [
        (Torn, ["torn"], "", True),
        (Torn, ["stale", "torn"], "", True),
        (Torn, ["stale"], "torn", False),
        (Torn, [], "the server hung up", True),
        (Torn, [], "target mutant:torn-apart: nothing", False),
        (Torn, [], "mutant:torn-apart came apart", True),
        (Loses, ["stale"], "", True),
        (Loses, ["hang"], "", True),
        (Loses, ["misdirected"], "stale, lost, hang", False),
        (Loses, [], "", False),
    ],
)
def test_a_diagnosis_names_the_bug_if_its_damage_or_text_matches(
    mutant: type[Mutant], damage: list[str], text: str, named: bool
) -> None:
    assert is_named(mutant, damage, text) is named


def test_each_mutant_names_only_known_kinds_of_damage_and_effects() -> None:
    known = {kind.value for kind in Damage} | set(EFFECTS)
    for mutant in catalogue().values():
        assert set(mutant.shows) <= known, mutant.id


def test_effect_names_differ_from_kinds_of_damage_and_each_is_used() -> None:
    assert not set(EFFECTS) & {kind.value for kind in Damage}
    used = {word for mutant in catalogue().values() for word in mutant.shows}
    assert set(EFFECTS) <= used


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="burnt"):
        expected_damage(bug("odd", ("burnt",)))


def test_the_id_of_the_mutant_is_removed_from_the_text() -> None:
    assert without_id(Torn, "mutant:torn-apart at /x/torn-apart.log") == "mutant: at /x/.log"


def test_findings_can_be_read_from_an_event() -> None:
    finding = Finding(Damage.TORN, 512, 512)
    assert findings_in({"findings": [finding.to_json()]}) == [finding]
    assert findings_in({"event": "case_ended"}) == []
