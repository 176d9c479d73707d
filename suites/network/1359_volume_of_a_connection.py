"""This case checks that a volume that ends with its connection keeps all data until then.

How: random writes, zeroes and discards, each in relation to an earlier one, on one connection.
After each one the surroundings are read. From time to time all is flushed. In the end the whole
volume is read.
Guards: zero-tail-wrong-end, copy-in-words.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.related_requests import RelatedRequests

KIB, STEPS = 1 << 10, 300


@case(
    groups="rw zero discard quick",
    requires="nbd volume_per_connection",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd, seed):
    disk = new_disk(768 * KIB, prefill=False)
    random = seed.stream("requests")
    with NbdIo(nbd(disk), disk.shadow) as io:
        for step in range(STEPS):
            if step % 50 == 0:
                related = RelatedRequests(random, disk.size, io)
                if io.offers(TransmissionFlag.SEND_FLUSH):
                    io.flush()
            io.read(*related.around(*related.change(io)))
        io.read(0, disk.size)
