"""A server's handshake, byte for byte."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode, match_contexts
from reference_backend.nbd.constants import ClientFlag, Info, Option, OptionReply
from reference_backend.nbd.constants import TransmissionFlag as T
from reference_backend.nbd.errors import LocalProtocolError, RemoteProtocolError
from reference_backend.nbd.negotiation import PHASES, Event, Phase, ServerNegotiation
from reference_backend.nbd.settings import Features, Limits, TlsMode
from reference_backend.server import FixedExports

from .pair import negotiation, replies, volume

R = OptionReply
GO_VOL = m.option(Option.GO, m.info_request("vol"))


def ask(server: ServerNegotiation, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
    """Send an option; return (type, data) of its replies, each of which must repeat the option."""
    found = replies(server.receive(m.option(option, data)))
    assert all(reply.option == option for reply in found)
    return [(reply.reply, reply.data) for reply in found]


def only_type(server: ServerNegotiation, option: int, data: bytes = b"") -> int:
    """Send an option that gets one reply; return its type."""
    [(reply, _data)] = ask(server, option, data)
    return reply


def test_greeting_is_nbdmagic_ihaveopt_and_both_flags() -> None:
    assert negotiation(flags=None).greeting() == b"NBDMAGICIHAVEOPT\x00\x03"


def test_features_that_are_off_are_not_in_the_greeting() -> None:
    features = Features(no_zeroes=False)
    assert negotiation(features=features, flags=None).greeting()[-2:] == b"\x00\x01"


def test_go_answers_info_export_then_ack_byte_for_byte() -> None:
    server = negotiation(flags=None)
    sent = b"\0\0\0\3" + b"IHAVEOPT" + b"\0\0\0\7" + b"\0\0\0\x09" + b"\0\0\0\3vol" + b"\0\0"
    flags = (
        T.HAS_FLAGS | T.SEND_FLUSH | T.SEND_FUA | T.SEND_TRIM | T.SEND_WRITE_ZEROES
        | T.CAN_MULTI_CONN | T.SEND_CACHE | T.SEND_FAST_ZERO
    )  # fmt: skip
    magic = bytes.fromhex("0003e889045565a9")
    assert server.receive(sent) == (
        magic + b"\0\0\0\7\0\0\0\3\0\0\0\x0c" + b"\0\0" + struct.pack(">QH", 1 << 20, flags)
        + magic + b"\0\0\0\7" + b"\0\0\0\1" + b"\0\0\0\0"
    )  # fmt: skip
    assert server.phase is Phase.TRANSMISSION
    assert server.agreement.export == "vol"


@pytest.mark.parametrize("no_zeroes", [True, False])
def test_export_name_answers_size_flags_and_124_zeroes_unless_refused(no_zeroes: bool) -> None:
    flags = ClientFlag.FIXED_NEWSTYLE | (ClientFlag.NO_ZEROES if no_zeroes else 0)
    sent = negotiation(flags=flags).receive(m.option(Option.EXPORT_NAME, b"vol"))
    assert len(sent) == 10 + (0 if no_zeroes else 124)
    assert struct.unpack(">Q", sent[:8]) == (1 << 20,)
    assert not any(sent[10:])


def test_a_client_without_fixed_newstyle_may_use_export_name_only() -> None:
    server = negotiation(flags=0)
    assert len(server.receive(m.option(Option.EXPORT_NAME, b"vol"))) == 134
    with pytest.raises(RemoteProtocolError, match="fixed newstyle"):
        negotiation(flags=0).receive(m.option(Option.LIST))


@pytest.mark.parametrize("flags", [4, 1 << 31, 0xFFFFFFFF])
def test_unknown_client_flags_end_the_session(flags: int) -> None:
    with pytest.raises(RemoteProtocolError, match="client flags"):
        negotiation(flags=None).receive(m.CLIENT_FLAGS.pack(flags))


def test_client_flags_that_were_not_offered_end_the_session() -> None:
    server = negotiation(flags=None, features=Features(no_zeroes=False))
    with pytest.raises(RemoteProtocolError, match="client flags"):
        server.receive(m.CLIENT_FLAGS.pack(3))


def test_whole_and_byte_by_byte_give_the_same_and_trailing_bytes_stay() -> None:
    script = (
        b"\0\0\0\3"
        + m.option(Option.STRUCTURED_REPLY)
        + m.option(Option.LIST)
        + m.option(77, b"what")
        + m.option(Option.SET_META_CONTEXT, m.meta_context_request("vol", ["base:allocation"]))
        + m.option(Option.INFO, m.info_request("vol", list(Info)))
        + GO_VOL
    )
    whole, slowly = negotiation(flags=None), negotiation(flags=None)
    at_once = whole.receive(script + b"first request")
    one_by_one = b"".join(slowly.receive(bytes([byte])) for byte in script)
    assert at_once == one_by_one
    assert whole.trailing() == b"first request"
    assert slowly.trailing() == b""


def test_every_phase_moves_only_as_its_table_says() -> None:
    """Each event is tried in each phase by real bytes; a cell that is empty must refuse."""
    script = {
        Event.FLAGS: m.CLIENT_FLAGS.pack(3),
        Event.ANSWERED: m.option(Option.LIST),
        Event.EXPORT_CHOSEN: GO_VOL,
        Event.STARTTLS: m.option(Option.STARTTLS),
        Event.ABORT: m.option(Option.ABORT),
    }
    ways = {
        Phase.CLIENT_FLAGS: [],
        Phase.OPTIONS: [Event.FLAGS],
        Phase.TLS: [Event.FLAGS, Event.STARTTLS],
        Phase.TRANSMISSION: [Event.FLAGS, Event.EXPORT_CHOSEN],
        Phase.CLOSED: [Event.FLAGS, Event.ABORT],
    }
    for phase, way in ways.items():
        for event in Event:
            server = negotiation(flags=None, tls=TlsMode.OFFERED)
            for step in way:
                server.receive(script[step])
            assert server.phase is phase
            try:
                if event is Event.TLS_ESTABLISHED:
                    server.tls_established()
                else:
                    server.receive(script[event])
            except (RemoteProtocolError, LocalProtocolError):
                pass
            assert server.phase is PHASES.get((phase, event), phase), (phase, event)


def test_list_names_every_export_in_order() -> None:
    server = negotiation(("one", volume()), ("zwei/größer", volume()))
    names = ["one", "zwei/größer"]
    expected = [(R.SERVER, m.string(name)) for name in names]
    assert ask(server, Option.LIST) == [*expected, (R.ACK, b"")]


@pytest.mark.parametrize(
    "option", [Option.LIST, Option.STARTTLS, Option.STRUCTURED_REPLY, Option.EXTENDED_HEADERS]
)
def test_unexpected_data_of_an_option_is_invalid(option: Option) -> None:
    server = negotiation(tls=TlsMode.OFFERED)
    assert only_type(server, option, b"x") == R.ERR_INVALID
    assert server.phase is Phase.OPTIONS
    assert server.agreement.mode is ReplyMode.SIMPLE


def test_abort_is_acknowledged_whatever_data_it_has() -> None:
    server = negotiation()
    assert only_type(server, Option.ABORT, b"bye") == R.ACK
    assert server.phase is Phase.CLOSED


@pytest.mark.parametrize("option", [0, 4, 12, 99, 0xFFFFFFFF])
def test_unknown_options_are_unsupported_and_the_handshake_continues(option: int) -> None:
    server = negotiation()
    assert only_type(server, option, b"data") == R.ERR_UNSUP
    assert only_type(server, Option.STRUCTURED_REPLY) == R.ACK


def test_unknown_export_is_unknown_for_info_and_go_and_ends_export_name() -> None:
    server = negotiation()
    for option in (Option.INFO, Option.GO):
        assert only_type(server, option, m.info_request("none")) == R.ERR_UNKNOWN
    with pytest.raises(RemoteProtocolError, match="none"):
        server.receive(m.option(Option.EXPORT_NAME, b"none"))


def test_empty_name_is_the_only_export_and_none_among_two() -> None:
    server = negotiation()
    reported = ask(server, Option.INFO, m.info_request("", [Info.NAME]))
    assert (R.INFO, b"\0\1vol") in reported
    two = negotiation(("a", volume()), ("b", volume()))
    assert only_type(two, Option.GO, m.info_request("")) == R.ERR_UNKNOWN


def test_info_returns_the_requested_data_and_stays_in_the_handshake() -> None:
    server = negotiation(("vol", volume(block_sizes=(512, 4096, 1 << 20))))
    asked = [Info.BLOCK_SIZE, Info.NAME, Info.DESCRIPTION, 4242]
    reported = [data for reply, data in ask(server, Option.INFO, m.info_request("vol", asked))][:-1]
    assert struct.pack(">HIII", 3, 512, 4096, 1 << 20) in reported
    assert b"\0\1vol" in reported
    assert {data[:2] for data in reported} == {b"\0\0", b"\0\1", b"\0\2", b"\0\3"}
    assert server.phase is Phase.OPTIONS


def test_maximum_block_size_is_at_most_the_payload_limit_and_a_multiple_of_the_minimum() -> None:
    limits = Limits(payload=1_000_000)
    server = negotiation(("vol", volume(block_sizes=(4096, 4096, 32 << 20))), limits=limits)
    reported = ask(server, Option.INFO, m.info_request("vol", [Info.BLOCK_SIZE]))
    assert (R.INFO, struct.pack(">HIII", 3, 4096, 4096, 244 * 4096)) in reported


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\xffvol\0\0",
        b"\0\0\0\3vol",
        b"\0\0\0\3vol\0",
        b"\0\0\0\3vol\0\1",
        b"\0\0\0\3vol\0\0\0",
        b"\0\0\0\3v\0l\0\0",
        b"\0\0\0\3\xff\xfe\xfd\0\0",
        m.U32.pack(5000) + b"v" * 5000 + b"\0\0",
    ],
)
def test_malformed_info_is_invalid_and_the_handshake_continues(data: bytes) -> None:
    server = negotiation()
    for option in (Option.INFO, Option.GO):
        assert only_type(server, option, data) == R.ERR_INVALID
    assert replies(server.receive(GO_VOL))[-1].reply == R.ACK


def test_name_of_4096_bytes_is_looked_up() -> None:
    name = "n" * 4096
    server = negotiation((name, volume()))
    assert ask(server, Option.GO, m.info_request(name))[-1] == (R.ACK, b"")
    with pytest.raises(RemoteProtocolError, match="4097"):
        negotiation().receive(m.option(Option.EXPORT_NAME, b"n" * 4097))


def test_headers_are_agreed_on_once_and_never_downgraded() -> None:
    server = negotiation()
    assert only_type(server, Option.STRUCTURED_REPLY) == R.ACK
    assert only_type(server, Option.STRUCTURED_REPLY) == R.ERR_INVALID
    assert only_type(server, Option.EXTENDED_HEADERS) == R.ACK
    assert only_type(server, Option.EXTENDED_HEADERS) == R.ERR_INVALID
    assert only_type(server, Option.STRUCTURED_REPLY) == R.ERR_EXT_HEADER_REQD
    assert server.agreement.mode is ReplyMode.EXTENDED


def test_features_switched_off_are_unsupported() -> None:
    features = Features(structured=False, extended=False, block_status=False)
    server = negotiation(features=features)
    request = m.meta_context_request("vol", [])
    assert only_type(server, Option.STRUCTURED_REPLY) == R.ERR_UNSUP
    assert only_type(server, Option.EXTENDED_HEADERS) == R.ERR_UNSUP
    assert only_type(server, Option.SET_META_CONTEXT, request) == R.ERR_UNSUP


FLAG_OF = {
    "fua": T.SEND_FUA,
    "flush": T.SEND_FLUSH,
    "trim": T.SEND_TRIM,
    "write_zeroes": T.SEND_WRITE_ZEROES | T.SEND_FAST_ZERO,
    "fast_zero": T.SEND_FAST_ZERO,
    "cache": T.SEND_CACHE,
    "multi_conn": T.CAN_MULTI_CONN,
    "df": T.SEND_DF,
    "block_status": T.BLOCK_STAT_PAYLOAD,
}


@pytest.mark.parametrize("feature", FLAG_OF)
def test_each_feature_switches_its_flag(feature: str) -> None:
    def flags(features: Features) -> int:
        server = negotiation(features=features)
        server.receive(m.option(Option.EXTENDED_HEADERS) + GO_VOL)
        return server.agreement.flags

    assert flags(Features()) ^ flags(Features(**{feature: False})) == FLAG_OF[feature]


def test_df_is_offered_only_with_structured_replies() -> None:
    server = negotiation()
    server.receive(GO_VOL)
    assert not server.agreement.flags & T.SEND_DF
    server = negotiation()
    server.receive(m.option(Option.STRUCTURED_REPLY) + GO_VOL)
    assert server.agreement.flags & T.SEND_DF


@pytest.mark.parametrize("where", ["server", "volume"])
def test_read_only_offers_nothing_that_writes(where: str) -> None:
    server = negotiation(("vol", volume(read_only=where == "volume")), read_only=where == "server")
    server.receive(GO_VOL)
    flags = server.agreement.flags
    assert flags & T.READ_ONLY
    assert not flags & (T.SEND_TRIM | T.SEND_WRITE_ZEROES | T.SEND_FAST_ZERO)


# -- metadata contexts


def set_contexts(*queries: str, name: str = "vol") -> bytes:
    return m.meta_context_request(name, queries)


def structured(**options: object) -> ServerNegotiation:
    server = negotiation(("vol", volume()), ("other", volume()), **options)  # type: ignore[arg-type]
    assert only_type(server, Option.STRUCTURED_REPLY) == R.ACK
    return server


def test_contexts_need_structured_replies() -> None:
    for option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
        assert only_type(negotiation(), option, set_contexts("base:allocation")) == R.ERR_INVALID


@pytest.mark.parametrize(
    ("queries", "listed", "set_"),
    [
        ([], "ad", ""),
        (["base:"], "a", ""),
        (["qbd:"], "d", ""),
        (["base:allocation"], "a", "a"),
        (["qbd:dirty", "base:allocation", "base:allocation"], "ad", "ad"),
        (["base:unknown", "x-other:thing", "nocolon", ""], "", ""),
    ],
)
def test_queries_choose_contexts(queries: list[str], listed: str, set_: str) -> None:
    names = {"a": "base:allocation", "d": "qbd:dirty"}
    for option, letters in ((Option.LIST_META_CONTEXT, listed), (Option.SET_META_CONTEXT, set_)):
        *found, last = ask(structured(), option, set_contexts(*queries))
        assert last == (R.ACK, b"")
        assert [data[4:].decode() for _reply, data in found] == [names[each] for each in letters]
        ids = [data[:4] for _reply, data in found]
        if option == Option.LIST_META_CONTEXT:
            assert set(ids) <= {bytes(4)}
        else:
            assert len(set(ids)) == len(ids)


def test_a_second_set_replaces_the_first_even_when_it_fails() -> None:
    bad = set_contexts("base:allocation", name="missing"), b"\0", set_contexts("x:y")
    for data in bad:
        server = structured()
        ask(server, Option.SET_META_CONTEXT, set_contexts("base:allocation"))
        ask(server, Option.SET_META_CONTEXT, data)
        server.receive(GO_VOL)
        assert server.agreement.contexts == {}


def test_a_set_that_is_too_long_clears_the_contexts_too() -> None:
    server = structured(limits=Limits(option_length=64, option_skip=10_000))
    ask(server, Option.SET_META_CONTEXT, set_contexts("base:allocation"))
    assert only_type(server, Option.SET_META_CONTEXT, bytes(100)) == R.ERR_TOO_BIG
    server.receive(GO_VOL)
    assert server.agreement.contexts == {}


def test_contexts_count_only_for_the_export_they_were_set_for() -> None:
    server = structured()
    ask(server, Option.SET_META_CONTEXT, set_contexts("base:allocation", name="other"))
    server.receive(GO_VOL)
    assert server.agreement.contexts == {}
    server = structured()
    ask(server, Option.SET_META_CONTEXT, set_contexts("base:allocation"))
    server.receive(GO_VOL)
    assert server.agreement.contexts == {1: "base:allocation"}


def test_malformed_context_requests_are_refused() -> None:
    whole = set_contexts("base:allocation")
    for cut in range(len(whole)):
        assert only_type(structured(), Option.SET_META_CONTEXT, whole[:cut]) == R.ERR_INVALID
    assert only_type(structured(), Option.SET_META_CONTEXT, whole + b"x") == R.ERR_INVALID
    many = m.string("vol") + m.U32.pack(0xFFFFFFFF)
    assert only_type(structured(), Option.SET_META_CONTEXT, many) == R.ERR_TOO_BIG


def test_numbering_does_not_depend_on_the_queries() -> None:
    assert match_contexts(["qbd:dirty"], ["base:allocation", "qbd:dirty"], listing=False) == {
        2: "qbd:dirty"
    }


# -- limits


def test_an_option_that_is_too_long_is_skipped_and_answered_too_big() -> None:
    server = negotiation(limits=Limits(option_length=100, option_skip=1000))
    sent = server.receive(m.option(Option.LIST, bytes(101)) + m.option(Option.LIST))
    assert [reply.reply for reply in replies(sent)] == [R.ERR_TOO_BIG, R.SERVER, R.ACK]


def test_an_option_far_too_long_ends_the_session_before_its_data_comes() -> None:
    head = m.OPTION.pack(0x49484156454F5054, Option.LIST, 0xFFFFFFFF)
    with pytest.raises(RemoteProtocolError, match="declares"):
        negotiation().receive(head)
    export_name = m.OPTION.pack(0x49484156454F5054, Option.EXPORT_NAME, 1 << 20)
    with pytest.raises(RemoteProtocolError, match="declares"):
        negotiation().receive(export_name)


def test_endless_options_end_the_session() -> None:
    server = negotiation(limits=Limits(options=10))
    for _ in range(10):
        server.receive(m.option(Option.LIST))
    with pytest.raises(RemoteProtocolError, match="more than 10"):
        server.receive(m.option(Option.LIST))


def test_a_wrong_option_magic_ends_the_session() -> None:
    with pytest.raises(RemoteProtocolError, match="magic"):
        negotiation().receive(b"IHAVENOT" + bytes(8))


# -- TLS, "TLS support"


def test_notls_refuses_starttls_by_policy_and_never_says_tls_required() -> None:
    server = negotiation()
    assert only_type(server, Option.STARTTLS) == R.ERR_POLICY
    assert replies(server.receive(GO_VOL))[-1].reply == R.ACK


@pytest.mark.parametrize(
    "option", [o for o in Option if o not in (Option.STARTTLS, Option.ABORT, Option.EXPORT_NAME)]
)
def test_forced_tls_answers_everything_else_tls_required(option: Option) -> None:
    server = negotiation(tls=TlsMode.REQUIRED)
    assert only_type(server, option, m.info_request("vol")) == R.ERR_TLS_REQD
    assert only_type(server, 99) == R.ERR_TLS_REQD
    assert server.phase is Phase.OPTIONS


def test_forced_tls_ends_export_name_and_allows_abort() -> None:
    with pytest.raises(RemoteProtocolError, match="TLS"):
        negotiation(tls=TlsMode.REQUIRED).receive(m.option(Option.EXPORT_NAME, b"vol"))
    assert only_type(negotiation(tls=TlsMode.REQUIRED), Option.ABORT) == R.ACK


@pytest.mark.parametrize("tls", [TlsMode.OFFERED, TlsMode.REQUIRED])
def test_starttls_voids_all_that_was_agreed_before(tls: TlsMode) -> None:
    server = negotiation(tls=tls)
    if tls is TlsMode.OFFERED:
        server.receive(m.option(Option.EXTENDED_HEADERS))
        server.receive(m.option(Option.SET_META_CONTEXT, set_contexts("base:allocation")))
    assert only_type(server, Option.STARTTLS) == R.ACK
    assert server.phase is Phase.TLS
    server.tls_established()
    assert server.agreement.mode is ReplyMode.SIMPLE
    assert server.agreement.contexts == {}
    assert only_type(server, Option.STARTTLS) == R.ERR_INVALID
    server.receive(GO_VOL)
    assert server.agreement.tls


def test_plaintext_injected_behind_starttls_ends_the_session() -> None:
    """CVE-2021-3716 (nbdkit) and its kind: it must never count as if it came through TLS."""
    with pytest.raises(RemoteProtocolError, match="plaintext"):
        negotiation(tls=TlsMode.OFFERED).receive(
            m.option(Option.STARTTLS) + m.option(Option.STRUCTURED_REPLY)
        )
    server = negotiation(tls=TlsMode.OFFERED)
    server.receive(m.option(Option.STARTTLS))
    with pytest.raises(RemoteProtocolError, match="plaintext"):
        server.receive(b"x")


def test_fixed_exports_list_in_the_order_given() -> None:
    assert FixedExports({"b": volume(), "a": volume()}).list() == ["b", "a"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=60)), max_size=6),
    st.sampled_from(TlsMode),
)
def test_any_options_raise_protocol_errors_only(
    script: list[tuple[int, bytes]], tls: TlsMode
) -> None:
    server = negotiation(tls=tls)
    for option, data in script:
        if server.phase is not Phase.OPTIONS:
            break
        try:
            sent = server.receive(m.option(option, data))
        except RemoteProtocolError:
            break
        if option != Option.EXPORT_NAME:
            assert replies(sent)[-1].option == option


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_garbage_raises_protocol_errors_only(garbage: bytes, magic: bool) -> None:
    with contextlib.suppress(RemoteProtocolError):
        negotiation().receive((b"IHAVEOPT" if magic else b"") + garbage)
