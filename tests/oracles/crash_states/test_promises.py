from oracles.crash_states.promises import Promises
from oracles.stamps import Identity

SIZE = 1 << 16


def test_the_permitted_contents_depend_on_the_moment_of_the_cut() -> None:
    promises = Promises(SIZE, Identity(1, 1))
    first, second = promises.stamped(0, 512), None
    promises.write(0, first, 0, 2)
    promises.flush(2, 3)
    second = promises.stamped(0, 512)
    promises.write(0, second, 3, 5)
    promises.flush(5, 6)

    def wrong(limit: int, seen: bytes) -> bool:
        return bool(promises.judge(limit, lambda offset, length: seen.ljust(length, b"\0")))

    zero = bytes(512)
    table = {limit: [wrong(limit, seen) for seen in (zero, first, second)] for limit in range(7)}
    assert table == {
        0: [False, False, True],
        1: [False, False, True],
        2: [False, False, True],
        3: [True, False, False],
        4: [True, False, False],
        5: [True, False, False],
        6: [True, True, False],
    }
    assert promises.acknowledged == [2, 3, 5, 6]


def test_zeroes_discards_and_resizes_take_effect_at_their_moments() -> None:
    promises = Promises(SIZE, Identity(1, 1))
    data = promises.stamped(0, 1024)
    promises.write(0, data, 0, 1)
    promises.flush(1, 2)
    promises.zero(0, 512, 2, 3)
    promises.discard(512, 512, 3, 4)
    promises.flush(4, 5)
    promises.resize(2 * SIZE, 5, 7)

    def wrong(limit: int, seen: bytes) -> bool:
        return bool(promises.judge(limit, lambda offset, length: seen.ljust(length, b"\0")))

    assert not wrong(4, data)
    assert wrong(5, data)
    assert not wrong(5, bytes(512) + data[512:])
    assert not wrong(5, b"")
    assert promises.shadow(6).size == SIZE
    assert promises.shadow(7).size == 2 * SIZE
