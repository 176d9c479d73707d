"""The index finds what asking every rule finds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from injectors.rules.engine import Armed
from injectors.rules.events import IoType
from injectors.rules.index import Active
from injectors.rules.model import Rule, error_rule

KINDS = st.sampled_from([None, frozenset({IoType.READ}), frozenset({IoType.WRITE, IoType.FLUSH})])
SPANS = st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda p: (p[0], p[0] + p[1]))
RULES = st.builds(
    error_rule,
    event=st.just("none"),
    iotypes=KINDS,
    spans=st.none() | st.lists(SPANS, min_size=1, max_size=3).map(tuple),
)
REQUESTS = st.tuples(st.sampled_from(IoType), st.integers(0, 45), st.integers(0, 20))


@settings(deadline=None)
@given(st.lists(RULES, max_size=8), st.lists(REQUESTS, min_size=1, max_size=8))
def test_the_index_agrees_with_each_rule(
    rules: list[Rule], requests: list[tuple[IoType, int, int]]
) -> None:
    armed = [Armed(str(n), n, rule) for n, rule in enumerate(rules)]
    active = Active(armed)
    for request in requests:
        expected = [one for one in armed if one.rule.covers(*request)]
        assert list(active.covering(*request)) == expected


@settings(deadline=None)
@given(st.lists(RULES, max_size=8), st.lists(REQUESTS, min_size=1, max_size=8))
def test_touches_agrees_with_covering(
    rules: list[Rule], requests: list[tuple[IoType, int, int]]
) -> None:
    active = Active([Armed(str(n), n, rule) for n, rule in enumerate(rules)])
    for kind, offset, length in requests:
        touches = active.of_kind(kind).touches(offset, length)
        assert touches == bool(list(active.covering(kind, offset, length)))
