"""This case checks that a metadata context chosen for one export is not valid for another.

How: SET_META_CONTEXT for one export, then GO for another one: BLOCK_STATUS must fail, and the
connection must live. Chosen for the export that is entered, also after contexts for another one,
it must answer for that export.
Guards: context-kept-for-other-export.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import ask
from qbdcheck.kit.nbd import STATE_ZERO, Command
from qbdcheck.kit.nbd_probe import CLOSED, enter_transmission, errno_of, export_name, negotiating

BASE, SIZE = "base:allocation", 1 << 20


@case(
    groups="protocol status quick",
    requires="nbd structured block_status add_volume",
    basis="MUST: NBD, NBD_OPT_SET_META_CONTEXT",
)
def test(new_disk):
    full = new_disk(SIZE)
    empty = new_disk(SIZE, prefill=False, beside=full)
    for chosen, entered in ((full, empty), (empty, full)):
        with negotiating(chosen) as client:
            client.opt_structured_reply()
            client.opt_set_meta_context(export_name(chosen), [BASE])
            enter_transmission(client, entered)
            error = errno_of(client, Command.BLOCK_STATUS, 0, 65536)
            assert error, (
                f"BLOCK_STATUS with the context of export {chosen.name} on export {entered.name}"
                " succeeds, expected an error"
            )
            if error != CLOSED:  # a client must not send it without a context
                entered.judge(0, client.read(0, 65536))
        with negotiating(chosen) as client:
            client.opt_structured_reply()
            client.opt_set_meta_context(export_name(chosen), [BASE])
            client.opt_set_meta_context(export_name(entered), [BASE])
            enter_transmission(client, entered)
            (extent, *_) = ask(client, 0, 65536)[BASE]
            is_zero = bool(extent.flags & STATE_ZERO)
            wrong = f"block status of export {entered.name} has flags {extent.flags}"
            assert not is_zero or entered is empty, wrong
