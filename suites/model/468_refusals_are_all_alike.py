"""This case checks that a server refuses the same request in the same way, thousands of times.

How: requests beyond the end or with unknown flags, in flight with reads; reads and flushes that a
rule fails; wrong, unknown and long options. Each must end as the first of its kind, without effect.
Guards: flush-error-swallowed, missing-object-zero-fill, zero-length-op, async-error-ignored,
errno-collapsed, error-kills-connection, oob-past-end, offset-len-overflow, payload-not-drained,
wrong-volume-or-lun, acl-prefix-match, long-name-smash, probe-or-abort-kills-server,
huge-option-read, unadvertised-command-executed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, NbdProtocolError, Option, TransmissionFlag
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, is_answered, negotiating, option_result

REQUESTS, GREETINGS, FAILURES, IN_FLIGHT = 50_000, 6000, 8000, 50
UNKNOWN_FLAG, UNKNOWN_OPTION = 1 << 14, 0x7101


@case(
    groups="model protocol errors slow",
    requires="nbd flush",
    limit_s=400,
    basis=("SHOULD: NBD, Error values", "POLICY: same-request-same-answer"),
)
def test(new_disk, nbd, rules, seed):
    disk, random, ends = new_disk("1M"), seed.stream("refusals"), {}
    with nbd(disk) as client:
        kinds = [one for one in refused(disk.size, client.flags) if is_answered(disk, *one[1:])]
        for _ in range(REQUESTS // IN_FLIGHT):
            sent = {}
            for _ in range(IN_FLIGHT):
                name, command, offset, length, flags = random.choice(kinds)
                payload = b"\xee" * length if command == Command.WRITE else b""
                cookie = client.send_request(command, offset, length, flags=flags, payload=payload)
                sent[cookie] = name
            for _ in sent:
                name = sent[(reply := client.receive_reply()).cookie]
                first = ends.setdefault(name, reply.error)
                assert reply.error == first, f"{name}: errno {reply.error}, at first {first}"
                right = bool(reply.error) is (name != "read") or name == "read of length 0"
                assert right, f"{name}: errno {reply.error}"
    name = export_name(disk)
    options = {
        "one letter more": (Option.INFO, m.info_request(name + "x")),
        "one letter less": (Option.INFO, m.info_request(name[:-1] or "x")),
        "300 letters": (Option.INFO, m.info_request("n" * 300)),
        "unknown": (UNKNOWN_OPTION, b"data"),
        "40 KiB": (UNKNOWN_OPTION, bytes(40 << 10)),
        "abort": (Option.ABORT, b""),
    }
    armed = rules.on(disk)
    broken = armed.add({"event": "none", "iotype": ["read", "flush"], "errno": "ENOSPC"})
    with nbd(disk) as client:
        for number in range(FAILURES):
            command = (Command.READ, Command.FLUSH)[number % 2]
            length = 4096 * (command is Command.READ)
            reply = client.receive_reply(client.send_request(command, 0, length))
            seen = f"errno {reply.error}, at first {ends.setdefault(command, reply.error)}"
            right = reply.error == ends[command] != 0
            assert right, f"failing {command.name}: {seen}, expected an error"
    armed.remove(broken)
    for number in range(GREETINGS):
        try:
            with negotiating(disk) as client:
                for what, option in options.items():
                    end = result_of(client, *option)
                    first = ends.setdefault(what, end)
                    assert end == first, f"handshake {number}, {what}: {end}, at first {first}"
        except OSError as error:
            raise AssertionError(f"after the options of {number} handshakes: {error}") from None
    disk.verify()


def result_of(client, option, data):
    """Return the result of an option, or the name of the exception."""
    try:
        return option_result(client, option, data)
    except (OSError, EOFError, NbdProtocolError) as error:
        return type(error).__name__


def refused(size, flags):
    """Return requests that a server must refuse, and one that it must not."""
    offered = (
        ("discard behind the end", Command.TRIM, size, 4096, TransmissionFlag.SEND_TRIM),
        ("zeroes across the end", Command.WRITE_ZEROES, size - 4096, 8192,
         TransmissionFlag.SEND_WRITE_ZEROES),
    )  # fmt: skip
    return (
        *((*request, 0) for *request, flag in offered if flags & flag),
        ("read", Command.READ, 4096, 4096, 0),
        ("read of length 0", Command.READ, 4096, 0, 0),
        ("read at the end", Command.READ, size, 4096, 0),
        ("write across the end", Command.WRITE, size - 4096, 8192, 0),
        ("write far behind", Command.WRITE, 1 << 40, 4096, 0),
        ("read with an end beyond 2^64", Command.READ, (1 << 64) - 4096, 8192, 0),
        ("write with an unknown flag", Command.WRITE, 0, 4096, UNKNOWN_FLAG),
        ("unknown command", 99, 0, 512, 0),
    )
