import random

import pytest

from oracles.workload import (
    EVERYDAY,
    FSX,
    Kind,
    Mix,
    Request,
    contended,
    dump,
    generate,
    load,
)

SIZE = 1 << 20


def test_the_same_seed_gives_the_same_workload_and_another_seed_another() -> None:
    first, again, other = (generate(random.Random(seed), SIZE, 100) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("mix", [Mix(), Mix(depth=64), Mix(align=512, depth=3), Mix(FSX)])
def test_requests_are_counted_numbered_aligned_and_inside(mix: Mix) -> None:
    batches = generate(random.Random(5), SIZE, 500, mix, first=7)
    requests = [request for batch in batches for request in batch]
    assert [request.number for request in requests] == list(range(7, 507))
    size = SIZE
    for request in requests:
        if request.kind is Kind.RESIZE:
            size = request.length
            assert mix.smallest <= size <= SIZE
        else:
            assert 0 <= request.offset <= request.offset + request.length <= size
            assert request.kind is Kind.FLUSH or request.length > 0
        assert request.offset % mix.align == request.length % mix.align == 0


def test_requests_in_flight_do_not_touch_the_same_bytes_unless_asked_to() -> None:
    apart = generate(random.Random(5), SIZE, 500, Mix(depth=16))
    assert not any(contended(batch) for batch in apart)
    assert max(len(batch) for batch in apart) > 4
    together = generate(random.Random(5), SIZE, 500, Mix(depth=16, overlap=True))
    assert any(contended(batch) for batch in together)


def test_contended_equals_a_comparison_of_all_pairs() -> None:
    mix = Mix({**EVERYDAY, Kind.STATUS: 2}, depth=32, overlap=True)
    for batch in generate(random.Random(9), SIZE, 2000, mix):
        pairs = {
            place
            for n, one in enumerate(batch)
            for m, two in enumerate(batch)
            if n < m and (one.kind.changes or two.kind.changes)
            and one.offset < two.offset + two.length and two.offset < one.offset + one.length
            for place in (n, m)
        }  # fmt: skip
        assert contended(batch) == pairs


def test_two_reads_of_one_place_are_not_contended() -> None:
    assert not contended((Request(1, Kind.READ, 0, 512), Request(2, Kind.READ, 0, 512)))


def test_a_saved_workload_can_be_read_again() -> None:
    batches = generate(random.Random(3), SIZE, 200, Mix(FSX, depth=8))
    batches.append((Request(999, Kind.ZERO, 0, 512, fua=True, no_hole=True, fast=True),))
    assert load(dump(batches, SIZE, "seed 3")) == (batches, SIZE)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: no JSON"),
        ("{}", "line 1: not the header"),
        ('{"what": "qbdcheck workload", "version": 2, "size": 1}', "line 1: version 2"),
        ("HEAD\n[]", "line 2: a batch is a list"),
        ("HEAD\n\n[[1,2]]", "line 3: a request is"),
        ('HEAD\n[[1,"grow",0,0]]', "line 2: no request is called 'grow'"),
        ('HEAD\n[[1,"read",0,1,"dpo"]]', "line 2: flags are fast, fua, no_hole"),
        ('HEAD\n[[1,"read",-1,1]]', "line 2: a negative number"),
    ],
)
def test_a_broken_record_is_refused_with_its_line(text: str, complaint: str) -> None:
    head = '{"what": "qbdcheck workload", "version": 1, "size": 512}'
    with pytest.raises(ValueError, match=complaint):
        load(text.replace("HEAD", head))


@pytest.mark.parametrize("align", [1, 4096])
def test_requests_are_related_to_recent_ones(align: int) -> None:
    counts = []
    for related in (0.0, 0.5):
        mix = Mix(hot=0, related=related, align=align)
        made = [one for batch in generate(random.Random(5), 64 << 20, 1000, mix) for one in batch]
        places = [(one.offset, one.length) for one in made if one.kind is not Kind.FLUSH]
        ends = [offset + length for offset, length in places]
        counts.append(
            (
                sum(one in places[max(0, at - 8) : at] for at, one in enumerate(places)),
                sum(one[0] in ends[max(0, at - 8) : at] for at, one in enumerate(places)),
            )
        )
    assert counts[0][0] < 5 and counts[0][1] < 5
    assert counts[1][0] > 30 and counts[1][1] > 30
