"""Scripts that repeat the recorded requests to a volume."""

from oracles.life import KILLED, Moment
from oracles.recorded import Recorded, asked_by, fits, scripts_of, steps_of, with_no_hole
from oracles.scripts import SIZE_MAX, Script, Step

MIB = 1 << 20
PREFILL = Moment("prefill", 0, 0, 8 * MIB)


def test_moments_become_steps_with_their_connections() -> None:
    moments = [
        Moment("write", 1, 4096, 512, lane="NBD connection 1", fua=True, text="write (FUA)"),
        Moment("write", 2, 0, 512, lane="NBD connection 2", text="write of pattern 0x5a"),
        Moment("flush", lane="NBD connection 2"),
        Moment("flush", lane="NBD connection 1"),
        Moment("cut", text="seed 7"),
        Moment("cut", text=KILLED),
        Moment("restart"),
        Moment("resize", 0, 0, 4096, text="from 8192 to 4096 bytes"),
        Moment("snapshot", text="snapshot s1 of disk was taken"),
        Moment("snapshot", text="snapshot s1 of disk was removed"),
        Moment("close", lane="NBD connection 1"),
    ]
    assert list(steps_of(moments)) == [
        Step("write", 4096, 512, fua=True),
        Step("write", 0, 512, fill=0x5A, connection=2),
        Step("flush", connection=2),
        Step("power-cut", seed=7),
        Step("kill"),
        Step("restart"),
        Step("resize", size=4096),
        Step("snapshot"),
        Step("reopen"),
    ]


def test_the_shortest_script_has_the_requests_to_the_damage() -> None:
    near = Moment("discard", 1, 4096, 4096)
    beside = Moment("write", 2, 16384, 512)
    far = Moment("write", 3, MIB, 512)
    record = Recorded(8 * MIB, (PREFILL, near, beside, far))
    counts = [len(script.steps) for _, script in scripts_of(record, [(4096, 512)])]
    assert counts == [1, 2, 3]
    assert all(script.prefill for _, script in scripts_of(record, [(4096, 512)]))


def test_a_volume_that_was_not_prefilled_stays_empty() -> None:
    record = Recorded(8 * MIB, (Moment("write", 1, 0, 512),))
    assert [script.prefill for _, script in scripts_of(record, [])] == [False]


def test_requests_to_a_large_volume_are_moved_to_a_smaller_one() -> None:
    place = (1 << 40) + 4096
    moments = (Moment("write", 1, place, 8192), Moment("read", 0, 0, 2 << 40))
    for about, script in scripts_of(Recorded(2 << 40, moments), [(place, 512)]):
        assert script.size <= SIZE_MAX
        assert fits(script)
        assert script.steps[0] == Step("write", 4096, 8192)
        assert "smaller volume" in about


def test_the_distance_to_the_end_of_a_large_volume_stays() -> None:
    size = (1 << 40) + 8192
    moments = (Moment("write", 1, size - 512, 512),)
    [(_, script)] = scripts_of(Recorded(size, moments), [(size - 512, 512)])
    assert script.size - script.steps[0].offset == 512


def test_a_script_of_a_resized_volume_begins_with_its_first_size() -> None:
    moments = (Moment("resize", 0, 0, 4096, text="from 8192 to 4096 bytes"),)
    [(_, script)] = scripts_of(Recorded(4096, moments), [])
    assert script.size == 8192


def test_what_is_behind_the_end_does_not_fit() -> None:
    assert fits(Script(4096, (Step("write", 0, 4096),)))
    assert not fits(Script(4096, (Step("write", 512, 4096),)))
    assert not fits(Script(4096, (Step("resize", size=512), Step("read", 0, 4096))))
    assert not fits(Script(4096, ()))


def test_no_hole_is_given_to_all_zeroes() -> None:
    script = Script(4096, (Step("zero", 0, 512), Step("write", 0, 512)))
    changed = with_no_hole(script)
    assert changed is not None
    assert [one.no_hole for one in changed.steps] == [True, False]
    assert with_no_hole(Script(4096, (Step("flush"),))) is None


def test_the_request_that_failed_is_a_step() -> None:
    text = "TRIM of 4096 bytes at 512 (FUA) on the connection to disk"
    record = Recorded(MIB, ()).then(Moment("error", 0, 512, 4096, text=text))
    assert list(steps_of(record.moments)) == [Step("discard", 512, 4096, fua=True)]
    assert not list(steps_of([Moment("error", 0, 0, 512, text="BLOCK_STATUS of 512 bytes")]))


def test_the_read_that_found_damage_is_known_from_its_text() -> None:
    first = asked_by("#93 read 2658304+51617")
    second = asked_by("READ of 4096 bytes at 50009 on the connection to disk")
    assert first is not None
    assert second is not None
    assert (first.offset, first.length) == (2658304, 51617)
    assert (second.offset, second.length) == (50009, 4096)
    assert asked_by("volume disk has wrong contents") is None
