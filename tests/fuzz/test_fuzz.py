"""The fuzzer accepts the right code and finds planted defects."""

from __future__ import annotations

import time

import pytest

from fuzz import __main__ as fuzz
from fuzz import inputs
from fuzz.choices import Choices
from reference_backend.nbd import client_replies
from reference_backend.nbd.replies import ReplyBuilder
from reference_backend.store.memory import MemoryStore

SIDES = ("server", "client")


@pytest.mark.parametrize("side", SIDES)
def test_all_inputs_of_the_corpus_pass(side: str) -> None:
    kept = inputs.corpus(side)
    assert len(kept) >= 100
    assert not [data.hex() for data in kept if fuzz.check(side, data)[1]]


@pytest.mark.parametrize("side", SIDES)
def test_three_thousand_new_inputs_pass_and_most_reach_requests(side: str) -> None:
    ends, failure = fuzz.sessions(side, seed=20261123, first=0, end=3000)
    assert not failure
    deep = ends["served"] if side == "server" else ends["answered"]
    assert deep > 1000, ends


def test_an_input_depends_only_on_seed_and_number() -> None:
    kept = inputs.corpus("server")
    some = [inputs.make(3, number, kept) for number in range(50)]
    assert some == [inputs.make(3, number, kept) for number in range(50)]
    assert len(set(some)) == 50
    assert inputs.make(4, 7, kept) != some[7]


def test_choices_after_the_end_are_zero() -> None:
    choose = Choices(b"\x05\x01")
    assert (choose.below(4), choose.pick("ab"), choose.number(4), choose.take(2)) == (
        1, "b", 0, b"\0\0",
    )  # fmt: skip
    assert choose.pieces(b"whole") == [b"whole"]
    assert b"".join(Choices(b"\x04\x00\x03\x00\x01\x00\x02\x00\x09").pieces(b"cut me")) == b"cut me"


def _finds(side: str, count: int = 3000) -> str:
    return fuzz.sessions(side, seed=1, first=0, end=count)[1]


def test_a_lost_write_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    write = MemoryStore.write

    def loses(self: MemoryStore, offset: int, data: bytes) -> None:
        if offset != 4096:
            write(self, offset, data)

    monkeypatch.setattr(MemoryStore, "write", loses)
    assert "wrong data" in _finds("server")


def test_a_missing_reply_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fail = ReplyBuilder.fail

    def silent(self: ReplyBuilder, out: list[bytes], cookie: int, *rest: object) -> None:
        if rest[1] != 22:
            fail(self, out, cookie, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ReplyBuilder, "fail", silent)
    assert "no reply" in _finds("server")


def test_a_crash_is_found_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(client_replies, "_take_error", crashes)
    failure = _finds("client")
    assert "ZeroDivisionError" in failure
    digits = failure.rpartition("--input ")[2]
    assert "ZeroDivisionError" in fuzz.check("client", bytes.fromhex(digits))[1]


def test_a_hang_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "HANG_S", 0.2)
    monkeypatch.setattr(ReplyBuilder, "fail", lambda *_: time.sleep(5))
    assert "a session takes more than 0.2 s" in _finds("server", 300)


@pytest.mark.parametrize(
    "argv", [["nobody"], ["server", "--inputs", "0"], ["client", "--input", "xy"]]
)
def test_bad_arguments_end_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fuzz.main(argv)
    assert ended.value.code == 2
