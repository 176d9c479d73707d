"""This case checks that a volume is found by its whole name only, also by a long one.

How: volumes of one server with names of 1, 23, 24, 255 and 4096 bytes, which begin alike, and with
names beyond ASCII; a name that the target refuses is left out. Each keeps its own data. LIST names
each once. Names that are shorter, longer or differ in one character are refused in every way.
Guards: name-cut-at-23, name-folded, list-misses-names, long-name-smash, acl-prefix-match.
"""

import contextlib

from qbdcheck.kit import NotRun, ProgramError, SetupError, case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import negotiating, option_replies, option_result

NAMES = ("n", "n" * 22 + "x", "n" * 22 + "xy", "n" * 255, "n" * 4096, "\u00e9tage", "\u65e5\u672c")
UNKNOWN = ("N", "nn", "n" * 22, "n" * 22 + "z", "n" * 22 + "xyz", "n" * 254, "etage", "?tage")


@case(
    groups="names protocol quick",
    requires="nbd add_volume",
    basis=("MUST: NBD, NBD_OPT_GO", "MUST: NBD, NBD_OPT_LIST"),
)
def test(new_disk, nbd_io, log):
    first = new_disk(65536)
    disks = [first]
    for name in NAMES:
        try:
            disks.append(new_disk(65536, name=name, beside=first, prefill=False))
        except (SetupError, ProgramError, NotRun) as error:
            log(f"no volume named {name[:30]!r} ({len(name.encode())} bytes): {error}")
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(nbd_io(disk)) for disk in disks]
        for io in clients:
            io.write(4096, 8192)
        for io in clients:
            io.read(0, 65536)
    for disk in disks:
        disk.verify()
    known = {disk.name for disk in disks}
    with negotiating(first) as client:
        *listed, _end = option_replies(client, Option.LIST)
        names = sorted(m.take_string(reply.data, 0)[0] for reply in listed)
        assert not listed or names == sorted(known), (
            f"LIST: {len(names)} names, of {[len(name) for name in names]} letters;"
            f" there are {len(known)} exports"
        )
        option_result(client, Option.STRUCTURED_REPLY)
        for name in set(UNKNOWN) - known:
            for option, data in (
                (Option.INFO, m.info_request(name)),
                (Option.SET_META_CONTEXT, m.meta_context_request(name, ["base:allocation"])),
                (Option.GO, m.info_request(name)),
            ):
                result = option_result(client, option, data)
                assert result != "ACK", f"{option.name} accepts {name[:30]!r}, which is no export"
