"""Walks over covering arrays on real targets: right ones pass, wrong ones are found."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial

import pytest

from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.block_status import StatusWrong
from qbdcheck.kit.covering import classes, themes
from qbdcheck.kit.covering.array import CoveringArray
from qbdcheck.kit.covering.events import Events
from qbdcheck.kit.covering.themes import _together, walk
from qbdcheck.kit.nbd_io import connect
from qbdcheck.kit.request_errors import RequestFailed
from qbdcheck.seed import Seed
from qbdcheck.targets.description import Description
from qbdcheck.targets.disk_io import WrongData
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError
from tests.qbdcheck.kit.conftest import open_target, scratch
from tests.qbdcheck.targets.conftest import Opener

__all__ = ["open_target", "scratch"]
Walk = Callable[..., list[str]]
ALL_FLAGS = sum(TransmissionFlag)
ABLE = (
    *("nbd", "multi_conn", "crash", "sudden_end", "resize", "raw_size"),
    *("snapshot_read", "snapshot_remove", "clone", "add_volume"),
)
"""What the reference backend can do."""
QUICK = (
    *(themes.RELATED, themes.CUTS, themes.SNAPSHOTS, themes.RESIZES, themes.TRACKING),
    themes.FAULTS,
)


@pytest.fixture
def walked(open_target: Opener) -> Walk:
    """Walk on a target; return the log."""

    def run(
        target: str, theme: themes.Theme, rows: int, seed: int = 1, within_s: float = 600
    ) -> list[str]:
        log: list[str] = []
        session = open_target(target)
        session.capabilities = frozenset(() if target == "file" else ABLE)
        rules = None
        if theme is themes.FAULTS:
            rules = ArmedRules(session.new_disk("1M", prefill=False), log.append)
        walk(
            theme,
            session,
            partial(connect, session),
            Seed(seed),
            log.append,
            not_run=log.append,
            rows=rows,
            rules=rules,
            within_s=within_s,
        )
        return log

    return run


def test_a_walk_says_what_it_covered(walked: Walk) -> None:
    log = walked("reference", themes.SIZES, 12)
    assert len(log) == 13 and "'command':" in log[0]
    assert log[-1].startswith("12 rows cover ") and " pairs and " in log[-1]
    covered, _, feasible = log[-1].removeprefix("12 rows cover ").split()[:3]
    assert 200 < int(covered) < int(feasible)


def test_a_slow_target_does_the_first_rows_and_the_case_says_so(walked: Walk) -> None:
    log = walked("reference", themes.CUTS, 30, within_s=0)
    done = int(log[-1].split()[0])
    assert 0 < done < 30
    assert log[-2] == f"the target was done with {done} of 30 rows in 0 s"


@pytest.mark.parametrize(("restart", "theme", "rows"), [
    (True, themes.RESIZES, 10), (False, themes.RESIZES, 1),
    (True, themes.RELATED, 1), (True, themes.CUTS, 12),
])  # fmt: skip
def test_rows_share_a_resize_for_which_the_server_restarts(
    restart: bool, theme: themes.Theme, rows: int
) -> None:
    resize = {"command": "truncate -s {size} {dir}/{name}", "restart": restart}
    description = Description.model_validate({
        "name": "mine", "about": "a server",
        "volume": {"create": "truncate -s {size} {dir}/{name}", "resize": resize},
        "blockdev": {"driver": "file", "filename": "{dir}/{name}"},
    })  # fmt: skip
    assert _together(theme, description) == rows


@pytest.mark.parametrize("theme", QUICK)
def test_rows_of_each_theme_pass_on_a_right_target(walked: Walk, theme: themes.Theme) -> None:
    walked("reference", theme, 12, seed=5)


def test_a_target_without_nbd_is_reached_through_qemu(walked: Walk) -> None:
    assert walked("file", themes.RELATED, 8)[-1].startswith("8 rows")


@pytest.mark.parametrize(
    ("mutant", "theme"),
    [
        ("write-zeroes-noop", themes.RELATED),
        ("compressed-part-overwrite", themes.CONTENTS),
        ("flush-noop", themes.CUTS),
        ("discard-exposes-backing", themes.SNAPSHOTS),
        ("grow-exposes-old-data", themes.RESIZES),
    ],
)
def test_wrong_contents_are_found(walked: Walk, mutant: str, theme: themes.Theme) -> None:
    with pytest.raises(WrongData):
        walked(f"mutant:{mutant}", theme, 150)


@pytest.mark.parametrize("mutant", ["discard-not-tracked", "tracking-lost-on-resize"])
def test_changes_that_are_called_clean_are_found(walked: Walk, mutant: str) -> None:
    with pytest.raises(StatusWrong, match=r"qbd:dirty: .* changed, but is clean"):
        walked(f"mutant:{mutant}", themes.TRACKING, 80)


def test_data_that_is_called_zero_is_found(walked: Walk) -> None:
    with pytest.raises(StatusWrong, match="is called zero, but has data"):
        walked("mutant:status-lies-behind-first-mib", themes.RELATED, 60)


@pytest.mark.parametrize("mutant", ["failed-write-aborts-flush", "retry-resumes-too-far"])
def test_what_a_failure_leaves_behind_is_found(walked: Walk, mutant: str) -> None:
    with pytest.raises(WrongData):
        walked(f"mutant:{mutant}", themes.FAULTS, 100)


def test_a_request_that_fails_without_a_fault_is_not_hidden(open_target: Opener) -> None:
    session = open_target("reference")
    disk = session.new_disk("1M")
    events = Events(disk, partial(connect, session), Seed(1).stream("events"), is_coherent=True)
    events.faults = ArmedRules(disk, lambda *_words: None)
    failure = RequestFailed("WRITE", NbdError(errno.EIO, ""))
    with pytest.raises(RequestFailed), events.failing("write", "EIO"):
        raise failure
    with connect(session, disk) as io, events.failing("write", "EIO"):
        io.write(0, 4096)
    assert events.failed == 1


def test_a_stream_over_what_was_read_is_found(walked: Walk) -> None:
    with pytest.raises(WrongData):
        walked("mutant:sequential-bypass-keeps-lines", themes.RELATED, 220)


def test_a_walk_without_rows_is_broken(walked: Walk) -> None:
    with pytest.raises(CaseBroken, match="no row"):
        walked("reference", themes.RELATED, 0)


def test_a_target_without_any_course_is_not_run(walked: Walk) -> None:
    with pytest.raises(NotRun, match="no course of events"):
        walked("file", themes.CUTS, 5)


def test_what_is_not_offered_is_left_out() -> None:
    dimensions = themes.RELATED.dimensions
    all_of_it = classes.Offer(ALL_FLAGS, has_status=True, is_coherent=True)
    assert all_of_it.of_classes(dimensions) == {k: list(v) for k, v in dimensions.items()}
    least = classes.Offer(0, has_status=False, is_coherent=False).of_classes(dimensions)
    assert least["command"] == ["write", "read"]
    assert least["fua"] == [""]
    assert least["earlier"] == [
        "nothing", "written", "written in pieces", "written twice", "read", "read up to it",
    ]  # fmt: skip
    assert least["connection"] == ["the same", "a new one"]


@pytest.mark.parametrize("theme", [*QUICK, themes.SIZES, themes.CONTENTS, themes.RESTARTS])
def test_no_row_has_classes_that_clash(theme: themes.Theme) -> None:
    array = CoveringArray(theme.dimensions, theme.triples, Seed(1).stream("rows"), classes.clash)
    for row in array.rows(100):
        assert row["command"] in classes.CHANGES or not row.get("fua")
        assert row["command"] == "write" or row.get("contents", "stamps") == "stamps"
        assert row["command"] == "write" or row.get("afterwards") != classes.ELSEWHERE
        assert row.get("earlier") != "nothing" or row.get("relation", "same") == "same"
