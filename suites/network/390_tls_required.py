"""This case checks that a server that requires TLS gives nothing away without it.

How: each option before STARTTLS ("ERR_TLS_REQD"), EXPORT_NAME (the connection ends), STARTTLS with
data; then a raw client and QEMU do all commands through TLS, and every byte is looked at.
Guards: starttls-state-carried, probe-or-abort-kills-server.
"""

from qbdcheck.kit import Authority, case
from qbdcheck.kit.nbd import Client, Option, client_context
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, is_closed, negotiating, option_result


@case(groups="protocol tls", requires="nbd tls")
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
            answer = option_result(client, option, data)
            told = f"option {option} in plaintext, where TLS is required: {answer}"
            assert answer in {"ERR_TLS_REQD", "ERR_UNSUP"}, told
            assert answer == "ERR_TLS_REQD" or option not in {Option.LIST, Option.INFO, Option.GO}
        client.opt_starttls(client_context(known))
        assert option_result(client, Option.STARTTLS) == "ERR_INVALID", "TLS within TLS"
    with negotiating(disk) as client:
        assert option_result(client, Option.STARTTLS, b"data") == "ERR_INVALID"
    with negotiating(disk) as client:
        client.send_option(Option.EXPORT_NAME, export.encode())
        assert is_closed(client), "EXPORT_NAME without TLS went on"
    with Client.connect(disk.uri, tls=client_context(known), structured=True) as client:
        data = disk.shadow.stamped(0, 1 << 20)
        client.write(0, data)
        disk.shadow.write(0, data)
        cookies = [client.send_request(0, number << 16, 1 << 16) for number in range(16)]
        assert {client.receive_reply().cookie for _ in cookies} == set(cookies)
        assert bytes(client.read(0, 1 << 20)) == data
    qemu_img.objects.append(f"tls-creds-x509,id=tls,endpoint=client,dir={known}")
    with storage_daemon() as qsd:
        qsd.add(disk.protocol_blockdev("disk", tls_creds="tls", tls_hostname="localhost"))
        with qemu_io(qsd.export("disk"), shadow=disk.shadow) as io:
            io.read(0, 1 << 20)
            io.write(1 << 20, 1 << 20)
            io.write_zeroes(3 << 20, 65536)
            io.flush()
            io.read(0, disk.size)
