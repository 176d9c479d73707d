"""This case checks that TLS handshakes do not wait for each other, whichever ends first.

How: clients ask for TLS one after the other, and then wait. They finish their TLS handshakes in the
same order, in the reverse order, or only one of them does. Each that finishes is served at once,
whatever the others do. Afterwards the server has all of its descriptors back.
Related: handshake-slowloris, connection-slot-leak, inflight-hang-on-disconnect.
"""

from contextlib import ExitStack, contextmanager

from qbdcheck.kit import Authority, case
from qbdcheck.kit.footprint import footprint, settles
from qbdcheck.kit.nbd import Client, NbdProtocolError, Option, client_context
from qbdcheck.kit.nbd_probe import export_name, negotiating

CLIENTS, LENGTH, SPARE = 4, 65536, 4
ORDERS = {"in order": range(CLIENTS), "in reverse": range(CLIENTS)[::-1], "only the first": (0,),
          "only the second": (1,), "only the last": (CLIENTS - 1,)}  # fmt: skip


@case(
    groups="protocol tls concurrent quick",
    requires="nbd tls",
    basis=("MUST: NBD, TLS support", "POLICY: clients-do-not-disturb-each-other"),
)
def test(new_disk, scratch):
    authority = Authority("ours")
    server = authority.issue(scratch / "server", "server")
    context = client_context(authority.trust(scratch / "client"))
    disk = new_disk(tls=str(server))
    with Client.connect(disk.uri, tls=context) as client:
        disk.judge(0, client.read(0, LENGTH))
    before = settles(disk.backend, footprint(disk.backend), 0)
    for what, order in ORDERS.items():
        with ExitStack() as stack:
            clients = [stack.enter_context(negotiating(disk)) for _ in range(CLIENTS)]
            for number, client in enumerate(clients):
                with not_held_up(f"client {number + 1} of {CLIENTS} asks for TLS"):
                    client.option(Option.STARTTLS)
            for number in order:
                client = clients[number]
                with not_held_up(f"client {number + 1} of {CLIENTS}, {what}"):
                    client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
                    client.opt_go(export_name(disk))
                    data = client.read(0, LENGTH)
                disk.judge(0, data)
    after = settles(disk.backend, before, SPARE, within_s=12.0)
    assert after.descriptors <= before.descriptors + SPARE, (
        f"descriptors: {before} before, {after} after"
    )
    with Client.connect(disk.uri, tls=context) as client:
        disk.judge(0, client.read(0, LENGTH))


@contextmanager
def not_held_up(what):
    """Name the client that is not served."""
    try:
        yield
    except (OSError, EOFError, NbdProtocolError) as error:
        message = f"{what}: not served while others are in their TLS handshake: {error}"
        raise AssertionError(message) from error
