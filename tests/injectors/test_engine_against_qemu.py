"""Engine and QEMU's blkdebug side by side: the same rules must fail the same requests."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from injectors.rules.compile import to_blockdev
from injectors.rules.engine import Engine
from injectors.rules.events import IoType
from injectors.rules.model import RuleSet, SetState, error_rule, point

SIZE = 1 << 20
# What a raw node over blkdebug raises for one request of qemu-io: measured on QEMU 7.2.
BEFORE = {"read": ("read_aio",), "write": ("write_aio", "pwritev")}
AFTER = {"read": (), "write": ("pwritev_done",)}
EVENTS = ("none", "read_aio", "write_aio", "pwritev", "pwritev_done")
STATES = st.integers(0, 3)

rules = st.builds(
    error_rule,
    event=st.sampled_from(EVENTS),
    state=STATES,
    errno=st.sampled_from([0, 1, 5, 12, 22, 28, 110]),
    iotypes=st.sampled_from(
        [frozenset({IoType.READ}), frozenset({IoType.WRITE}), None]
    ),
    spans=st.sampled_from([None, None, (point(0),), (point(3),), (point(8),)]),
    once=st.booleans(),
    immediately=st.booleans(),
)
changes = st.builds(SetState, event=st.sampled_from(EVENTS), new_state=STATES, state=STATES)
rule_sets = st.builds(
    RuleSet,
    st.lists(rules, min_size=1, max_size=4).map(tuple),
    st.lists(changes, max_size=3).map(tuple),
)
requests = st.lists(
    st.tuples(
        st.sampled_from(["read", "write"]),
        st.sampled_from([0, 1024, 1536, 4096]),
        st.sampled_from([512, 1024, 4096]),
    ),
    min_size=2, max_size=12,
)


@pytest.fixture(scope="module")
def image():
    with tempfile.NamedTemporaryFile(prefix="qb") as file:
        file.truncate(SIZE)
        yield Path(file.name)


def seen_by_qemu(rule_set, wanted, image):
    node = to_blockdev(rule_set, {"driver": "file", "filename": str(image)})
    name = "json:" + json.dumps({"driver": "raw", "file": node})
    script = "".join(f"{kind} {offset} {length}\n" for kind, offset, length in wanted)
    run = subprocess.run(
        ["qemu-io", "-t", "writeback", name], input=script, capture_output=True, text=True,
        timeout=30, check=False,
    )
    lines = re.findall(r"(?:read|wrote) \d+/\d+ bytes|(?:read|write) failed: (.*)", run.stdout)
    assert len(lines) == len(wanted), run.stdout + run.stderr
    return lines


def seen_by_engine(rule_set, wanted):
    engine = Engine(rule_set)
    seen = []
    for kind, offset, length in wanted:
        for event in BEFORE[kind]:
            engine.on_event(event)
        met = engine.decide(IoType(kind), offset, length)
        for event in AFTER[kind]:
            engine.on_event(event)
        seen.append(os.strerror(met.rule.fault.errno) if met else "")
    return seen


@settings(
    max_examples=int(os.environ.get("QBDCHECK_EXAMPLES", "150")), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rule_sets, requests)
@example(
    RuleSet((error_rule("none", errno=0, once=True), error_rule("none"))), [("read", 0, 512)] * 3
)
@example(RuleSet((error_rule("none", once=True),)), [("write", 0, 512)] * 3)
def test_engine_and_blkdebug_fail_the_same_requests(image, rule_set, wanted):
    ours = seen_by_engine(rule_set, wanted)
    note(f"engine: {ours}")
    assert ours == seen_by_qemu(rule_set, wanted, image)


def test_the_generator_injects_often_enough_to_mean_something():
    injected = []

    @settings(max_examples=200, deadline=None, database=None)
    @given(rule_sets, requests)
    def count(rule_set, wanted):
        injected.append(any(seen_by_engine(rule_set, wanted)))

    count()
    assert sum(injected) > len(injected) // 5
