"""Maps of block status: clipped, joined, compared."""

from __future__ import annotations

from typing import Any

import pytest

from blockio.extents import Extent
from oracles.damage import Damage
from qbdcheck.kit.block_status import (
    StatusWrong,
    agree,
    ask,
    expect_data,
    expect_status,
    follow,
    joined,
    listed_contexts,
    part,
    runs,
    zero_reads_as_zero,
)
from qbdcheck.kit.nbd_io import connect
from tests.qbdcheck.targets.conftest import Opener


def test_extents_are_clipped_at_the_end() -> None:
    assert list(runs(10, 25, [Extent(10, 1), Extent(100, 2)])) == [(10, 20, 1), (20, 25, 2)]


def test_neighbours_with_equal_flags_are_joined() -> None:
    assert joined([(0, 10, 1), (10, 20, 1), (20, 30, 0)]) == [(0, 20, 1), (20, 30, 0)]


def test_a_part_has_the_flags_of_the_whole() -> None:
    assert part([(0, 10, 1), (10, 20, 2), (20, 30, 3)], 5, 15) == [(5, 10, 1), (10, 15, 2)]


def test_equal_maps_may_be_split_differently() -> None:
    expect_status([(0, 10, 1), (10, 20, 1)], [(0, 20, 1)], "x")


class Lists:
    """A client whose server has these contexts; ``x-odd:1-9`` is a pattern."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def opt_list_meta_context(self, _export: str, queries: tuple[str, ...] = ()) -> list[str]:
        return list(queries and ("base:allocation", "qbd:dirty")) or list(self.names)

    def opt_set_meta_context(self, _export: str, queries: list[str]) -> dict[int, str]:
        return {} if queries == ["x-odd:1-9"] else dict(enumerate(queries))


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (("base:allocation",), ["base:allocation"]),
        (("base:",), ["base:allocation", "qbd:dirty"]),
        (("x-odd:1-9", "x-odd:age"), ["base:allocation", "x-odd:age"]),
        (("qbd:lost",), ["base:allocation", "qbd:lost"]),
    ],
)
def test_wildcards_and_patterns_are_no_contexts(listed: tuple[str, ...], names: list[str]) -> None:
    client: Any = Lists(*listed)
    assert listed_contexts(client, "v") == names


@pytest.mark.parametrize("seen", [[(0, 10, 1), (10, 20, 0)], [(0, 10, 1)]])
def test_the_first_range_that_differs_is_named(seen: list[tuple[int, int, int]]) -> None:
    with pytest.raises(StatusWrong, match="10 bytes at 10") as caught:
        expect_status(seen, [(0, 20, 1)], "x")
    assert caught.value.findings[0].damage is Damage.STATUS


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("qbd:dirty", "flags 0x1 (dirty), expected flags 0x0 (clean)"),
        ("base:allocation", "flags 0x1 (hole), expected flags 0x0 (data)"),
        ("x", "flags 0x1, expected flags 0x0"),
    ],
)
def test_flags_are_told_in_words_where_their_context_is_known(what: str, words: str) -> None:
    with pytest.raises(StatusWrong) as caught:
        expect_status([(0, 10, 1)], [(0, 10, 0)], what)
    assert str(caught.value).startswith(f"block status: {what}: 10 bytes at 0 have {words}\n")


def test_a_wrong_map_is_shown_around_the_place() -> None:
    swapped = [(0, 90, 3), (90, 100, 0), (100, 200, 3), (200, 210, 0), (210, 220, 3)]
    expect_data(swapped, 90, 100)
    with pytest.raises(StatusWrong) as caught:
        expect_data(swapped, 0, 10, "BLOCK_STATUS of 10 bytes at 0")
    (finding,) = caught.value.findings
    (line,) = finding.evidence
    assert str(caught.value) == (
        "block status: 10 bytes at 0 are called zero, but have data, in the answer to"
        f" BLOCK_STATUS of 10 bytes at 0\n    {line}"
    )
    assert line == (
        "seen: [0, 90): 90 bytes flags 0x3 (hole, zero); [90, 100): 10 bytes flags 0x0 (data);"
        " [100, 200): 100 bytes flags 0x3 (hole, zero); ..."
    )
    right = [(0, 10, 0), (10, 200, 3), (200, 210, 0), (210, 220, 3)]
    with pytest.raises(StatusWrong) as caught:
        expect_status(swapped, right, "base:allocation of the whole")
    assert [line.split(": ")[0] for line in caught.value.findings[0].evidence] == [
        "seen", "expected",
    ]  # fmt: skip


def test_a_request_has_whole_blocks(open_target: Opener) -> None:
    session = open_target("reference")
    disk = session.new_disk("1M", prefill=False, min_block=65536)
    with session.nbd(disk) as client:
        client.write(65536, bytes([1]) * 65536)
        found = ask(client, 100_000, 512)["base:allocation"]
        assert found[0] == Extent(131072 - 100_000, 0)
        seen = follow(client, 60_000, 200_000)["base:allocation"]
    assert [(start, end) for start, end, _ in seen] == [
        (60_000, 65536),
        (65536, 131072),
        (131072, 200_000),
    ]


@pytest.mark.parametrize("target", ["reference", "mutant:status-lies-behind-first-mib"])
def test_data_that_is_called_zero_is_found(open_target: Opener, target: str) -> None:
    session = open_target(target)
    disk = session.new_disk("2M")
    with connect(session, disk) as io:
        zero_reads_as_zero(io, 0, 1 << 20)
        if target == "reference":
            zero_reads_as_zero(io, 0, disk.size)
            return
        offset = (1 << 20) + 512
        io.write(offset, 512)
        with pytest.raises(StatusWrong, match="called zero, but has data") as caught:
            zero_reads_as_zero(io, offset, disk.size)
    (finding,) = caught.value.findings
    assert finding.line.startswith(
        f"block status on the connection to {disk.name}: offset {offset} (0x100200), sector"
    )
    assert finding.text == f"called zero, but a read returns data from offset {offset} on"
    assert finding.last_write == f"#1 write {offset}+512"
    assert [one.kind for one in finding.life][-3:] == ["write", "status", "read"]


def test_answers_that_agree_once_are_right_and_others_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("qbdcheck.clock.pause", pauses.append)
    settling = iter([3, 3, 2, 2])

    def one() -> list[tuple[int, int, int]]:
        return [(0, 10, next(settling, 2))]

    def compare(seen: list[tuple[int, int, int]], expected: list[tuple[int, int, int]]) -> None:
        expect_status(seen, expected, "base:allocation")

    agree(one, lambda: [(0, 10, 2)], compare)
    assert len(pauses) == 3
    with pytest.raises(StatusWrong, match=r"flags 0x2 \(zero\), expected flags 0x1 \(hole\)"):
        agree(one, lambda: [(0, 10, 1)], compare)
    assert sum(pauses) > 3


def test_what_no_server_may_answer_is_wrong_at_once() -> None:
    asked = []

    def one() -> list[tuple[int, int, int]]:
        asked.append(1)
        expect_data([(0, 10, 2)], 0, 10)
        return []

    with pytest.raises(StatusWrong, match="called zero"):
        agree(one, list, lambda seen, expected: None)
    assert len(asked) == 1
