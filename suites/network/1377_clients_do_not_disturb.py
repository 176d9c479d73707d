"""This case checks that a connection works whatever it and other clients did before.

How: reads of 16 to 64 KiB in flight together; the same cookie and range again after a change; a
pause of more than a second; clients that come, fail in the handshake and leave while others work;
errors whose texts hold no data; LIST, GO for an unknown export, then GO for a known one; a context
that was set for another export.
Guards: read-buffer-shared, reply-cache-by-cookie, completion-without-wakeup, close-ends-others,
error-text-leaks-data, list-omits-last, go-error-ends-handshake, context-kept-for-other-export,
cache-length-kills.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command, Option, OptionReply, TransmissionFlag
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import (
    CLOSED,
    enter_transmission,
    errno_of,
    export_name,
    negotiating,
    option_replies,
    option_result,
    refusal_text,
)

KIB, MIB, BASE = 1 << 10, 1 << 20, "base:allocation"


@case(
    groups="protocol concurrent quick",
    requires="nbd structured multi_conn",
    basis=(
        "MUST: NBD, NBD_CMD_READ",
        "MUST: NBD, NBD_OPT_GO",
        "MUST: NBD, NBD_OPT_LIST",
        "MUST: NBD, Metadata querying",
    ),
)
def test(new_disk, nbd_io, seed, target):
    disk = new_disk("128M", prefill=False)
    random = seed.stream("reads")
    with nbd_io(disk) as old, nbd_io(disk) as io:
        old.write(0, 2 * MIB)
        for _ in range(8):
            length = random.choice((16, 32, 64)) * KIB
            for place in random.sample(range(0, 2 * MIB, 128 * KIB), 8):
                io.send(Command.READ, place, length)
            io.finish_all()
        repeat_cookie(io, max(4096, io.block_sizes[0]))
        if io.offers(TransmissionFlag.SEND_CACHE):
            for length in (32 * MIB, 64 * MIB, 128 * MIB):
                seen = io.attempt(Command.CACHE, 0, length)
                assert seen != CLOSED, f"CACHE of {length} bytes at 0 ended the connection"
        leave(disk, nbd_io, max(4096, io.block_sizes[0]))
        old.read(0, 64 * KIB)
        old.write(0, 4096, data=(secret := random.randbytes(8).hex().encode()) * 256)
        with nbd_io(disk) as third:
            text = refusal_text(third.client, Command.READ, disk.size, 4096)
        assert secret.decode() not in text, f"READ beyond the end: the error has data: {text}"
        pause(1.2)
        io.read(64 * KIB, 4096), old.read(64 * KIB, 4096)
    disk.verify()
    if {"add_volume", "block_status"} <= target.capabilities:
        set_for_another(disk, new_disk("1M", beside=disk))


def repeat_cookie(io, length):
    """Read with one cookie before and after a change."""
    for _ in range(3):
        io.write(MIB, length)
        expected = io.read(MIB, length)
        cookie = io.client.send_request(Command.READ, MIB, length, cookie=77)
        wrong = f"READ of {length} bytes at 1 MiB with a cookie used before: old data"
        assert bytes(io.client.receive_reply(cookie).data) == expected, wrong


def leave(disk, nbd_io, length):
    """Let clients leave: after a read, in the handshake, after an unknown export."""
    with nbd_io(disk) as third:
        third.read(0, 4096)
    with negotiating(disk) as client:
        if option_result(client, Option.GO, m.info_request("no such export", [])) == "ACK":
            return  # the server accepts any name, and has left the handshake
        assert option_replies(client, Option.LIST), "LIST after a refused GO: no reply"
        enter_transmission(client, disk)
        assert errno_of(client, Command.READ, 0, length) == 0, "READ after a refused GO: an error"


def set_for_another(disk, other):
    """Check LIST, and that a context holds for its own export alone."""
    with negotiating(disk) as client:
        *replies, end = option_replies(client, Option.LIST)  # it may be refused
        listed = {m.take_string(reply.data, 0)[0] for reply in replies}
        missing = {export_name(disk), export_name(other)} - listed
        assert not missing or end.reply != OptionReply.ACK, f"LIST lacks {missing}: {listed}"
        client.opt_structured_reply()
        client.opt_set_meta_context(export_name(disk), [BASE])
        enter_transmission(client, other)
        wrong = "BLOCK_STATUS with a context of another export: expected an error"
        assert errno_of(client, Command.BLOCK_STATUS, 0, 4096), wrong
