"""This case checks that a name that is not exported is refused, however similar it is to one that
is.

How: names one character longer or shorter, in other case, with blanks, slashes and dots around the
right one, and long ones. Each must fail with QEMU's exact error text, and the volume must still be
served. A server without GO has no error reply: QEMU misses the name in its list, or the connection
ends.
Guards: wrong-volume-or-lun, acl-prefix-match, long-name-smash, probe-or-abort-kills-server,
name-folded, go-error-ends-handshake.
"""

from oracles.damage import Damage
from oracles.damage import error as outcome
from qbdcheck.kit import NotRun, ProgramError, case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import WrongAnswer
from qbdcheck.kit.nbd_probe import has_go


def refusal_of(qemu_img, node, export, *, has_go):
    """Open an export that does not exist; return QEMU's message, as it is with GO."""
    shown = repr(export if len(export) < 40 else f"{export[:30]}... ({len(export)} characters)")
    try:
        error = qemu_img.fails("info", json_filename(node))
    except ProgramError as opened:
        if opened.returncode:
            raise
        text = f"the server opened {shown}, which is no export: it serves another one instead"
        raise WrongAnswer(text, Damage.FOREIGN, None, outcome(0)) from None
    message = error.rpartition("}}': ")[2].splitlines()[0]
    is_closed = any(word in error for word in ("end-of-file", "closed", "reset"))
    if not has_go and (is_closed or message.startswith("No export with name '")):
        return "Requested export not available"
    if is_closed:
        text = f"the server closed the connection at {shown}, which is no export"
        text += "; expected the error reply ERR_UNKNOWN"
        raise WrongAnswer(text, Damage.PROTOCOL, None, outcome(-1))
    return message


@case(
    groups="names errors quick",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_GO", "MUST: NBD, NBD_OPT_EXPORT_NAME"),
)
def test(disk, qemu_io, qemu_img, golden):
    name = disk.protocol_blockdev().get("export", "")
    if not name:
        raise NotRun("the target has one export without a name")
    near = {
        "one character more": name + "x",
        "one character less": name[:-1] or "x",
        "upper case": name.swapcase() if name.swapcase() != name else name + "X",
        "blank before": " " + name,
        "newline behind": name + "\n",
        "slash before": "/" + name,
        "slash behind": name + "/",
        "parent directory": f"../{name}",
        "twice": name + name,
        "letters beyond ASCII": name + "\u00e4\u4e2d",
        "256 bytes": name + "n" * (256 - len(name.encode())),
        "4096 bytes": name + "n" * (4096 - len(name.encode())),
    }
    by_go = has_go(disk)
    for what, export in near.items():
        node = disk.blockdev() | {"file": disk.protocol_blockdev(export=export)}
        golden(f"{what}: {refusal_of(qemu_img, node, export, has_go=by_go)}")
    with qemu_io(disk) as io:
        io.write(0, 4096)
    disk.verify()
