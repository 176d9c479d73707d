"""The findings of a failure are found in every kind of error."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from blockio.layers import Command
from oracles.damage import Damage
from oracles.finding import Finding, Findings
from oracles.mismatches import Mismatch
from oracles.shadow import Shadow
from oracles.stamps import Identity
from oracles.workload import Kind, Request
from qbdcheck.errors import NotReadyError, ProgramError
from qbdcheck.programs.qemu_io import IoFailed
from qbdcheck.programs.requests_sent import forget, note
from qbdcheck.runner import evidence
from qbdcheck.runner.case_run import Result
from qbdcheck.runner.evidence import findings_of
from qbdcheck.runner.verdict_rules import judge, worse
from qbdcheck.targets.disk_io import WrongData
from qbdcheck.verdict import Verdict
from reference_backend.client import Client
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.errors import NbdError, NbdProtocolError, RemoteProtocolError

TORN = Finding(Damage.TORN, 512, 512)
LOST = Finding(Damage.LOST, 1024, 512)
EIO = Finding(Damage.ERROR, remark="EIO")


def raised(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise ValueError("nothing was raised")


def words(error: BaseException) -> list[str]:
    return [finding.damage.value for finding in findings_of(error)]


def test_an_error_of_an_oracle_brings_its_findings() -> None:
    assert words(WrongData("read", [TORN])) == ["torn"]


def test_findings_of_the_error_that_was_handled_are_found() -> None:
    def act() -> None:
        try:
            raise WrongData("read", [TORN])
        except WrongData:
            raise AssertionError("at the end") from None

    assert words(raised(act)) == ["torn"]


def test_findings_of_each_error_of_a_group_are_found() -> None:
    group = ExceptionGroup("both", [ValueError("odd"), WrongData("read", [LOST])])
    assert words(group) == ["lost"]


def test_findings_on_contents_come_first_and_duplicates_are_dropped() -> None:
    assert words(WrongData("read", [EIO, TORN, TORN])) == ["torn", "error"]


def test_the_number_of_findings_is_limited() -> None:
    many = [Finding(Damage.TORN, 512 * number, 512) for number in range(evidence.MOST + 5)]
    assert len(words(WrongData("read", many))) == evidence.MOST


def test_a_bare_assertion_on_a_shadow_keeps_its_findings() -> None:
    shadow = Shadow(4096)

    def equal() -> None:
        assert shadow.check(0, b"\1" * 512) == []

    def negated() -> None:
        assert not shadow.check(0, b"\1" * 512), "odd"

    def by_name() -> None:
        wrong = shadow.check(0, b"\1" * 512)
        assert not wrong

    def gathered() -> None:
        wrong: list[Finding] = []
        for start in (0, 512):
            wrong += shadow.check(start, b"\1" * 512)
        assert shadow.check(1024, bytes(512)) == []
        assert wrong == []

    for act in (equal, negated, by_name):
        assert words(raised(act)) == ["unknown"], act
    assert words(raised(gathered)) == ["unknown", "unknown"]


def test_a_bare_assertion_on_mismatches_keeps_them() -> None:
    class Pair:
        mismatches = [Mismatch(Request(1, Kind.READ, 0, 512), TORN)]

    def act() -> None:
        assert not Pair.mismatches

    assert words(raised(act)) == ["torn"]


def test_a_wrong_answer_has_the_life_of_its_range_and_what_shares_data_with_it() -> None:
    disk = Shadow(64 * 512, Identity(1, 2))
    clone = disk.copy(writer=1)
    disk.history.volume, clone.history.volume = "disk", "clone c1"
    disk.history.relatives = lambda: [disk.history, clone.history]
    clone.zero(1024, 512)
    text = "block status: BLOCK_STATUS of 512 bytes at offset 1024"
    forget()
    try:
        note(text, (1024, 512), disk.history)
        broken = WrongData("wrong", [Finding(Damage.PROTOCOL, request=text)])
        (found,) = findings_of(broken)
    finally:
        forget()
    assert found.asked == (1024, 512)
    assert found.life[-1].text == "block status"
    assert [(one.kind, one.lane) for one in found.relatives] == [("zero", "clone c1")]


def test_correct_or_expected_results_give_no_findings() -> None:
    shadow = Shadow(4096)

    def act() -> None:
        assert shadow.check(0, b"\1" * 512) != []
        assert shadow.check(0, bytes(512)) == []
        assert shadow.size == 1

    assert words(raised(act)) == []


@pytest.mark.parametrize(
    ("error", "damage"),
    [
        (ProgramError("qemu-img timed out", ["qemu-img"], None), "hang"),
        (ProgramError("qemu-img died by SIGSEGV", ["qemu-img"], -11), "died"),
        (TimeoutError(), "hang"),
        (ConnectionResetError(104, "reset"), "protocol error"),
        (EOFError(), "protocol error"),
        (RemoteProtocolError("bad magic"), "protocol error"),
        (NbdError(28), "error"),
        (IoFailed("write 0 512: No space left on device", ["qemu-io"], None), "error"),
    ],
)
def test_other_errors_have_the_damage_of_their_type(error: BaseException, damage: str) -> None:
    (found,) = findings_of(error)
    assert found.damage.value == damage
    assert found.text


@pytest.mark.parametrize("error", [ProgramError("exit 1", ["x"], 1), ValueError("odd"), OSError(5)])
def test_unknown_errors_have_no_findings(error: BaseException) -> None:
    assert findings_of(error) == []


def test_findings_survive_the_pipe_to_the_runner() -> None:
    result = judge(WrongData("read", [TORN]), "call", "trace")
    assert result.findings == (TORN,)
    assert Result.from_bytes(result.to_bytes()) == result


def test_findings_of_call_and_teardown_are_both_kept() -> None:
    call = Result(Verdict.FAIL, "torn", findings=(TORN,))
    teardown = Result(Verdict.FAIL, "lost", findings=(LOST,))
    assert worse(call, teardown).findings == (TORN, LOST)
    assert worse(Result(Verdict.PASS), teardown).findings == (LOST,)


def test_a_findings_attribute_of_another_type_is_ignored() -> None:
    error = ValueError("odd")
    error.findings = ["a", 1]  # type: ignore[attr-defined]
    assert findings_of(error) == Findings()
    error.findings = "text"  # type: ignore[attr-defined]
    assert findings_of(error) == []


def test_a_server_that_is_not_ready_is_broken_at_the_start_and_fail_at_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # as on an idle machine
    monkeypatch.setattr("qbdcheck.runner.verdict_rules.unless_starved", lambda late: late)
    error = NotReadyError("target x: the server died at its start")
    setup, call = judge(error, "setup", "trace"), judge(error, "call", "trace")
    assert (setup.verdict, setup.setup_failed) == (Verdict.BROKEN, True)
    assert (call.verdict, call.setup_failed) == (Verdict.FAIL, False)
    for result in (setup, call):
        assert [finding.damage for finding in result.findings] == [Damage.NOT_READY]


def test_a_broken_reply_is_reported_with_the_last_messages() -> None:
    ours, theirs = socket.socketpair()
    client = Client(ours)
    client.mode = ReplyMode.STRUCTURED
    with ours, theirs:
        cookie = client.send_request(Command.BLOCK_STATUS, 4096, 8192)
        theirs.sendall(b"no reply of NBD, but more than 16 bytes")
        with pytest.raises(NbdProtocolError) as caught:
            client.receive_reply(cookie)
    [finding] = findings_of(caught.value)
    assert finding.damage is Damage.PROTOCOL
    assert finding.request.startswith("after BLOCK_STATUS, offset 4096, length 8192")
    assert finding.evidence[-1].startswith("received, 39 bytes: 6e6f2072")


def test_a_wrong_reply_is_of_the_request_that_it_answers() -> None:
    error = RemoteProtocolError("an empty extent")
    assert findings_of(error)[0].request == ""
    error.add_note("sent: READ, offset 0")
    error.add_note("sent: WRITE, offset 512")
    assert findings_of(error)[0].request == "after WRITE, offset 512"
    error.add_note("answered: READ, offset 0")
    assert findings_of(error)[0].request == "in reply to READ, offset 0"
