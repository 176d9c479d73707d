"""This case checks that a server ends a connection whose client ended TLS, and does not spin.

How: a client sends TLS's close_notify and keeps its socket open: within the handshake, between
requests, and with reads in flight. The server must close the connection. Afterwards it uses no CPU
while nobody asks for anything, its threads and open files are back, and a new client is served.
Related: descriptor-leak, starttls-state-carried.
"""

import contextlib

from qbdcheck.kit import Authority, case, pause
from qbdcheck.kit.footprint import cpu_s, footprint, settles
from qbdcheck.kit.nbd import Client, Command, client_context
from qbdcheck.kit.nbd_probe import export_name, is_closed, negotiating

IDLE_S, BUSY_SHARE, SPARE = 0.4, 0.5, 4


@case(
    groups="protocol tls",
    requires="nbd tls",
    basis=("MUST: NBD, TLS support", "POLICY: clients-do-not-disturb-each-other"),
)
def test(new_disk, target, scratch):
    authority = Authority("ours")
    server = authority.issue(scratch / "server", "server")
    context = client_context(authority.trust(scratch / "client"))
    disk = new_disk(tls=str(server))
    with Client.connect(disk.uri, tls=context) as client:
        disk.judge(0, client.read(0, 65536))
    before = settles(disk.backend, footprint(disk.backend), 0)
    for phase in ("in the handshake", "between requests", "with reads in flight"):
        with negotiating(disk) as client:
            client.opt_starttls(context)
            if phase != "in the handshake":
                client.opt_go(export_name(disk))
                client.read(0, 4096 * target.scale)
            if phase == "with reads in flight":
                for number in range(8):
                    client.send_request(Command.READ, number << 16, 1 << 16)
            with contextlib.suppress(OSError):
                client.sock.unwrap()  # sends close_notify; a server may close without its own
            assert is_closed(client), f"close_notify {phase}: the connection stays open"
            used = cpu_s(disk.backend)
            pause(IDLE_S)
            used = cpu_s(disk.backend) - used
            assert used < IDLE_S * BUSY_SHARE, (
                f"close_notify {phase}: the server used {used:.2f} s of CPU in {IDLE_S} s in which"
                " nobody asked for anything"
            )
    after = settles(disk.backend, before, SPARE, within_s=12.0)
    assert after.threads <= before.threads + SPARE, f"threads: {before} before, {after} after"
    assert after.descriptors <= before.descriptors + SPARE, (
        f"descriptors: {before} before, {after} after"
    )
    with Client.connect(disk.uri, tls=context) as client:
        disk.judge(0, client.read(0, 65536))
