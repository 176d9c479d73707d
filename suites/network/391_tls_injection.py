"""This case checks that nothing sent in plaintext before TLS has any effect after it.

How: options sent together with STARTTLS are dropped, not answered within TLS. Contexts and replies
agreed on before STARTTLS are void. QEMU refuses a man in the middle who declines STARTTLS, or goes
on in plaintext: there is no downgrade.
Guards: starttls-state-carried.
"""

from qbdcheck.kit import Authority, case
from qbdcheck.kit.hostile_server import Lie
from qbdcheck.kit.nbd import (
    Client,
    Command,
    NbdProtocolError,
    Option,
    OptionReply,
    ReplyMode,
    client_context,
)
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_probe import (
    enter_transmission,
    errno_of,
    export_name,
    negotiating,
    option_result,
    supports_option,
)

REFUSALS = (OptionReply.ERR_UNSUP, OptionReply.ERR_POLICY, OptionReply.ACK)


@case(
    groups="protocol tls hostile",
    requires="nbd tls",
    basis=("MUST: NBD, NBD_OPT_STARTTLS", "MUST: NBD, FORCEDTLS mode"),
)
def test(new_disk, scratch, hostile, qemu_img):
    authority = Authority("ours")
    server = authority.issue(scratch / "server", "server")
    known = authority.trust(scratch / "client")
    disk = new_disk(tls=str(server))
    context = client_context(known)
    with negotiating(disk) as client:
        injected = m.option(Option.LIST) + m.option(Option.ABORT)
        client.send(m.option(Option.STARTTLS) + injected)
        try:
            client.receive_option_reply()
            client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        except (OSError, EOFError, NbdProtocolError):
            pass  # the server refuses everything
        else:
            answer = option_result(client, 99)
            assert answer == "ERR_UNSUP", (
                f"option 99 after TLS: {answer}, the reply to an option sent before TLS"
            )
    with negotiating(disk) as client:
        supports_option(client, Option.STRUCTURED_REPLY)
        client.opt_starttls(context)
        request = m.meta_context_request(export_name(disk), ["base:allocation"])
        answer = option_result(client, Option.SET_META_CONTEXT, request)
        assert answer == "ERR_INVALID", (
            f"SET_META_CONTEXT after TLS: {answer}, structured replies are still agreed"
        )
    with negotiating(disk) as client:
        request = m.meta_context_request(export_name(disk), ["base:allocation"])
        supports_option(client, Option.STRUCTURED_REPLY)
        option_result(client, Option.SET_META_CONTEXT, request)
        client.opt_starttls(context)
        if option_result(client, Option.STRUCTURED_REPLY) == "ACK":
            client.mode = ReplyMode.STRUCTURED
        enter_transmission(client, disk)
        error = errno_of(client, Command.BLOCK_STATUS, 0, 4096)
        assert error, "BLOCK_STATUS after TLS succeeds with a context that was chosen before TLS"
    with Client.connect(disk.uri, tls=context) as client:
        NbdIo(client, disk.shadow, sizes=disk.backend.sizes).read(0, 4096)
    qemu_img.objects.append(f"tls-creds-x509,id=tls,endpoint=client,dir={known}")
    filename = f"{hostile.filename},tls-creds=tls,tls-hostname=localhost"
    for reply in REFUSALS:
        hostile.tell(Lie({"refusal.type": m.U32.pack(reply)}))
        error = qemu_img.fails("info", "--image-opts", filename)
        log = [name for name, _length in hostile.sent]
        assert "refusal.type" in log, f"QEMU did not send STARTTLS; the server sent {log}"
        assert "export.data" not in log, f"QEMU went on without TLS after reply {reply:#x}: {error}"
