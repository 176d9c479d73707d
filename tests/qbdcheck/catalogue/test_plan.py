"""The plan of a run: selection, exclusions, resuming, shards, order."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbdcheck.catalogue.capability_words import format_mismatch, missing_capabilities
from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.groups import load_groups
from qbdcheck.catalogue.history import Elapsed, RunRecord
from qbdcheck.catalogue.plan import (
    DURATIONS_VARIABLE,
    SKIP_VARIABLE,
    allowed_reasons,
    excluded_reasons,
    make_plan,
)
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import Execution, Selection, TargetOptions
from qbdcheck.verdict import Verdict

CASE = '''"""This case checks that it works."""
from qbdcheck.kit import case
@case(groups="{groups}")
def test(): ...
'''
TARGET = TargetOptions(name="file")


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    folder = tmp_path / "suites"
    (folder / "b").mkdir(parents=True)
    (folder / "groups.yaml").write_text("# comment\n\nquick: fast\nslow: slow\ndisabled: off\n")
    for stem, groups in (("001_a", "quick"), ("002_b", "quick"), ("1000_c", "slow")):
        (folder / f"{stem}.py").write_text(CASE.format(groups=groups))
    (folder / "b" / "003_d.py").write_text(CASE.format(groups="disabled"))
    return folder


def plan(
    selection: Selection,
    execution: Execution,
    target: TargetOptions = TARGET,
    environment: dict[str, str] | None = None,
) -> list[str]:
    planned = make_plan(selection, target, execution, environment or {})
    return [f"{one.case.number}{'-' if one.excluded else ''}" for one in planned]


@pytest.fixture
def execution(tmp_path: Path) -> Execution:
    return Execution(cache_dir=tmp_path / "cache")


def test_the_default_is_the_group_quick_and_a_list_has_everything(
    suites: Path, execution: Execution
) -> None:
    selection = Selection(suites_dir=suites)
    assert plan(selection, execution) == ["1", "2"]
    assert plan(replace(selection, everything=True), execution) == ["1", "2", "3", "1000"]
    both = replace(TARGET, formats=("raw", "qcow2"))
    assert plan(selection, execution, both) == ["1", "1", "2", "2"]


def test_exclusions_come_from_variable_file_and_flag(
    suites: Path, execution: Execution, tmp_path: Path
) -> None:
    file = tmp_path / "exclude"
    file.write_text("2 # flaky\n")
    selection = Selection(arguments=("1-",), exclude_file=file, suites_dir=suites)
    skip = {SKIP_VARIABLE: "qcow2:1, file:1000"}
    assert plan(selection, execution, environment=skip) == ["1", "2-", "1000-"]
    planned = make_plan(selection, TARGET, execution, skip)
    assert [one.excluded for one in planned] == [
        "",
        "excluded by exclude: flaky",
        "excluded by QBDCHECK_SKIP",
    ]
    catalogue = [one.case for one in planned]
    assert excluded_reasons(selection, "file", catalogue, "raw", skip) == {
        "002_b": "excluded by exclude: flaky",
        "1000_c": "excluded by QBDCHECK_SKIP",
    }
    with pytest.raises(UsageError, match=r"exclude file .*No such file"):
        plan(replace(selection, exclude_file=tmp_path / "no"), execution)


def test_a_plan_without_a_case_is_refused(suites: Path, execution: Execution) -> None:
    with pytest.raises(UsageError, match="all selected cases are excluded"):
        plan(Selection(exclude_cases=("1-2",), suites_dir=suites), execution)
    with pytest.raises(UsageError, match="the selection has no case"):
        plan(Selection(groups=("slow",), exclude_groups=("slow",), suites_dir=suites), execution)


def test_resume_runs_what_the_last_run_did_not_finish(suites: Path, execution: Execution) -> None:
    selection = Selection(resume=True, suites_dir=suites)
    with pytest.raises(UsageError, match="there is no last run to resume"):
        plan(selection, execution)
    planned = [["001_a", "raw"], ["003_d", "raw"], ["1000_c", "raw"]]
    header = {"target": "file", "formats": ["raw"], "seed": 1, "planned": planned}
    record = RunRecord(execution.cache_dir, header)
    record.done("001_a", "raw")
    assert plan(selection, execution) == ["3", "1000"], "a disabled case that was named, too"
    record.done("003_d", "raw")
    (suites / "1000_c.py").unlink()
    with pytest.raises(UsageError, match="case 1000_c of the last run no longer exists"):
        plan(selection, execution)
    record.done("1000_c", "raw")
    record.close()
    with pytest.raises(UsageError, match="the last run is complete"):
        plan(selection, execution)


def test_shards_are_disjoint_and_complete_and_an_empty_one_is_refused(
    suites: Path, execution: Execution, tmp_path: Path
) -> None:
    everything = Selection(arguments=("1-",), suites_dir=suites)
    durations = Elapsed(tmp_path / "durations.json")
    durations.record("1000_c", Verdict.PASS, 60)
    durations.save()
    chosen = {DURATIONS_VARIABLE: str(durations.path)}
    parts = [
        plan(replace(everything, shard=(part, 2)), execution, environment=chosen) for part in (1, 2)
    ]
    assert parts == [["1000"], ["1", "2"]], "the long case is alone"
    with pytest.raises(UsageError, match="shard 4/4 is empty: there are more shards than cases"):
        plan(replace(everything, shard=(4, 4)), execution)
    excluded = replace(everything, shard=(3, 3), exclude_cases=("1000",))
    with pytest.raises(UsageError, match="shard 3/3 is empty: all its cases are excluded"):
        plan(excluded, execution)
    with pytest.raises(UsageError, match="QBDCHECK_DURATIONS: no file /no/such"):
        plan(
            replace(everything, shard=(1, 2)),
            execution,
            environment={DURATIONS_VARIABLE: "/no/such"},
        )


def test_the_order_is_by_number_longest_first_interleaved_or_random(
    suites: Path, execution: Execution
) -> None:
    selection = Selection(arguments=("1-", "3"), suites_dir=suites)
    elapsed = Elapsed.load(execution.cache_dir, "file", "raw")
    elapsed.record("1000_c", Verdict.PASS, 9)
    elapsed.record("002_b", Verdict.PASS, 5)
    elapsed.record("001_a", Verdict.PASS, 1)
    elapsed.save()
    assert plan(selection, execution) == ["1", "2", "3", "1000"]
    assert plan(selection, replace(execution, lanes=2)) == ["1000", "2", "3", "1"]
    assert plan(replace(selection, turns=True), execution) == ["1", "3", "2", "1000"]
    best_first = replace(selection, best_first=True)
    assert plan(best_first, execution) == ["1", "3", "2", "1000"]
    (suites / "best-first.txt").write_text("# the best\n002_b\n004_gone\n1000_c\n")
    assert plan(best_first, execution) == ["2", "1000", "1", "3"]
    orders = {
        tuple(plan(replace(selection, random_order=True), replace(execution, seed=seed)))
        for seed in range(9)
    }
    assert len(orders) > 1
    assert {tuple(sorted(order)) for order in orders} == {("1", "1000", "2", "3")}


@pytest.mark.parametrize(
    "content",
    ["a: b\n", "- [1]\n", "- {reason: x}\n", "- {target: x, reason: 1}\n", "- 'x\n", "\xff"],
)
def test_a_wrong_list_of_allowed_reasons_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "allowed-not-run.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=r"allowed-not-run\.yaml"):
        allowed_reasons(tmp_path, "reference")


def test_a_reason_is_allowed_for_all_targets_or_for_some(tmp_path: Path) -> None:
    text = "- no tape *\n- {target: nbdkit*, reason: target lacks *}\n"
    text += "- {target: '!nbdkit*', reason: target has *}\n"
    (tmp_path / "allowed-not-run.yaml").write_text(text)
    assert allowed_reasons(tmp_path, "reference") == ["no tape *", "target has *"]
    assert allowed_reasons(tmp_path, "nbdkit-file") == ["no tape *", "target lacks *"]


def test_the_list_of_allowed_reasons_may_be_missing_or_empty(tmp_path: Path) -> None:
    assert allowed_reasons(tmp_path, "reference") == []
    file = tmp_path / "allowed-not-run.yaml"
    file.write_text("# nothing\n")
    assert allowed_reasons(tmp_path, "reference") == []
    file.write_text("- no O_DIRECT *\n")
    assert allowed_reasons(tmp_path, "reference") == ["no O_DIRECT *"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a list\n", "1: write 'group: description'"),
        ("rw: [1]\n", "1: write 'group: description'"),
        ("rw: x\na: {\n", "2: write 'group: description'"),
        ("rw: x\nrw: y\n", "2: the group rw is listed twice"),
        ("\xff", "cannot read"),
    ],
)
def test_a_wrong_list_of_groups_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "groups.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=message):
        load_groups(tmp_path)


def test_a_missing_list_of_groups_or_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no .*groups\.yaml: it lists the groups"):
        load_groups(tmp_path)


def test_missing_capabilities_and_formats_are_reported_as_sentences() -> None:
    assert missing_capabilities(["flush", "kill"], {"flush"}) == ["target lacks kill"]
    assert format_mismatch((), "raw") == format_mismatch(("raw",), "raw") == []
    assert format_mismatch(("raw", "vdi"), "qcow2") == [
        "not for image format qcow2 (only raw, vdi)"
    ]


CATALOGUE = list_cases(ROOT / "suites")
GROUPS = load_groups(ROOT / "suites")


@given(st.data())
@hypothesis.settings(max_examples=60)
def test_shards_of_any_selection_are_disjoint_and_complete_on_every_machine(
    data: st.DataObject,
) -> None:
    """Each shard is planned on another machine: with other lanes, and other times in its cache."""
    numbers = st.integers(1, 600).map(str) | st.tuples(
        st.integers(1, 300), st.integers(0, 300)
    ).map(lambda pair: f"{pair[0]}-{pair[0] + pair[1]}")
    formats = data.draw(st.sampled_from([("raw",), ("raw", "qcow2"), ("qcow2", "vdi", "raw")]))
    selection = Selection(
        arguments=tuple(data.draw(st.lists(st.just("1-") | numbers, max_size=3))),
        groups=tuple(data.draw(st.lists(st.sampled_from(sorted(GROUPS)), max_size=2))),
        exclude_cases=tuple(data.draw(st.lists(st.integers(1, 100).map(str), max_size=3))),
        suites_dir=ROOT / "suites",
    )
    parts = data.draw(st.integers(1, 9))
    target = replace(TARGET, formats=formats)

    def units(one: Selection, machine: Execution) -> list[tuple[str, str, str]]:
        planned = make_plan(one, target, machine, {})
        return [(it.case.case_id, it.image_format, it.excluded) for it in planned]

    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setattr("qbdcheck.catalogue.plan.list_cases", lambda *_: CATALOGUE)
        try:
            whole = units(selection, Execution(cache_dir=Path(temporary) / "none"))
        except UsageError:
            hypothesis.reject()
        shards = []
        for part in range(1, parts + 1):
            cache = Path(temporary) / str(part)
            elapsed = Elapsed.load(cache, TARGET.name, "raw")
            for case in CATALOGUE[:: part + 1]:
                elapsed.record(case.case_id, Verdict.PASS, float(case.number * part % 13))
            elapsed.save()
            machine = Execution(lanes=part, cache_dir=cache)
            with contextlib.suppress(UsageError):  # a shard without cases
                shards += units(replace(selection, shard=(part, parts)), machine)
    assert len(shards) == len(set(shards))
    missing = set(whole) - set(shards)
    assert set(shards) <= set(whole)
    assert all(excluded for *_, excluded in missing), "only of shards that have no case to run"


def test_the_shipped_durations_are_of_cases_that_exist_and_cover_nearly_all() -> None:
    shipped = Elapsed.read(ROOT / "suites" / "durations.json").seconds
    known = {case.case_id for case in CATALOGUE}
    gone = sorted(set(shipped) - known)
    assert not gone, "./check durations latest, after a run of all cases"
    assert len(shipped) > 0.9 * len(known), "./check durations latest, after a run of all cases"
    loads = []
    for part in range(1, 5):
        chosen = make_plan(
            Selection(arguments=("1-",), shard=(part, 4), suites_dir=ROOT / "suites"),
            TARGET, Execution(), {},
        )  # fmt: skip
        loads.append(sum(shipped.get(one.case.case_id, 1.0) for one in chosen))
    assert max(loads) < 1.05 * min(loads) + max(shipped.values())
