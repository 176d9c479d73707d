"""This case checks that a server that requires TLS reveals nothing without it.

How: each option before STARTTLS must give ERR_TLS_REQD, EXPORT_NAME must end the connection, and
STARTTLS with data must fail. Then a raw client and QEMU work through TLS, and every byte is read.
Guards: starttls-state-carried.
Related: probe-or-abort-kills-server.
"""

from qbdcheck.kit import Authority, case
from qbdcheck.kit.nbd import Client, Command, Option, client_context
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_probe import export_name, is_closed, negotiating, option_result


@case(groups="protocol tls", requires="nbd tls", basis="MUST: NBD, FORCEDTLS mode")
def test(new_disk, scratch, storage_daemon, qemu_img, qemu_io):
    authority = Authority("ours")
    server = authority.issue(scratch / "server", "server")
    known = authority.trust(scratch / "client")
    disk = new_disk(tls=str(server))
    export = export_name(disk)
    with negotiating(disk) as client:
        info, meta = m.info_request(export), m.meta_context_request(export, ["base:allocation"])
        for option, data in (
            (Option.LIST, b""),
            (Option.INFO, info),
            (Option.GO, info),
            (Option.STRUCTURED_REPLY, b""),
            (Option.SET_META_CONTEXT, meta),
            (Option.LIST_META_CONTEXT, meta),
            (99, b""),
        ):
            name = option.name if isinstance(option, Option) else f"option {option}"
            result = option_result(client, option, data)
            needed = option in {Option.LIST, Option.INFO, Option.GO}
            allowed = {"ERR_TLS_REQD"} if needed else {"ERR_TLS_REQD", "ERR_UNSUP"}
            assert result in allowed, (
                f"{name} before STARTTLS, where TLS is required: the server answers"
                f" {result}, not {' or '.join(sorted(allowed))}"
            )
        client.opt_starttls(client_context(known))
        result = option_result(client, Option.STARTTLS)
        assert result == "ERR_INVALID", f"STARTTLS within TLS: {result}, not ERR_INVALID"
    with negotiating(disk) as client:
        result = option_result(client, Option.STARTTLS, b"data", may_close=True)
        is_refused = result in {"ERR_INVALID", "CLOSED"}
        assert is_refused, f"STARTTLS with data: {result}, not ERR_INVALID"
    with negotiating(disk) as client:
        client.send_option(Option.EXPORT_NAME, export.encode())
        assert is_closed(client), "EXPORT_NAME without TLS: the connection stays open"
    with NbdIo(
        Client.connect(disk.uri, tls=client_context(known)), disk.shadow, sizes=disk.backend.sizes
    ) as io:
        io.write(0, 1 << 20)
        for number in range(16):
            io.send(Command.READ, number << 16, 1 << 16)
        io.finish_all()
        io.read(0, 1 << 20)
    qemu_img.objects.append(f"tls-creds-x509,id=tls,endpoint=client,dir={known}")
    with storage_daemon() as qsd:
        qsd.add(disk.protocol_blockdev("disk", tls_creds="tls", tls_hostname="localhost"))
        with qemu_io(qsd.export("disk"), shadow=disk.shadow) as io:
            io.read(0, 1 << 20)
            io.write(1 << 20, 1 << 20)
            io.write_zeroes(3 << 20, 65536)
            io.flush()
            io.read(0, disk.size)
