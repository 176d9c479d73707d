"""This case checks that QEMU and server talk only to whom their certificates allow.

How: servers with a certificate that has expired, is of another CA, or is for another host; clients
with a certificate of another CA, an expired one, none; each is refused, a good one is let in, and
the server goes on to serve.
Guards: starttls-state-carried, acl-prefix-match.
"""

from qbdcheck.kit import Authority, SetupError, case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.nbd import Client, NbdProtocolError, client_context


def opens(qemu_img, disk, certificates, name="localhost"):
    """Say whether QEMU opens the disk."""
    creds = f"tls-creds-x509,id=tls,endpoint=client,dir={certificates}"
    qemu_img.objects[:] = [creds]
    node = disk.protocol_blockdev(tls_creds="tls", tls_hostname=name)
    return qemu_img.run("info", json_filename(node), check=False).returncode == 0


def is_let_in(disk, certificates):
    """Say whether the server serves a raw client."""
    try:
        with Client.connect(disk.uri, tls=client_context(certificates), timeout_s=5) as client:
            return bytes(client.read(0, 512)) == bytes(512)
    except (OSError, EOFError, NbdProtocolError):
        return False


@case(groups="protocol tls", requires="nbd tls")
def test(new_disk, scratch, qemu_img, not_run, target):
    ours, theirs = Authority("ours"), Authority("theirs")
    known = ours.issue(scratch / "known", "client")
    for what, issuer, words in (
        ("good", ours, {}),
        ("expired", ours, {"days": -3}),
        ("of another CA", theirs, {}),
        ("for another host", ours, {"host": "example.org"}),
    ):
        server = issuer.issue(scratch / what.replace(" ", "_"), "server", **words)
        try:
            disk = new_disk(tls=str(server))
        except SetupError as error:
            assert what == "expired", f"{what}: {error}"  # gnutls looks at its own before it starts
            continue
        assert opens(qemu_img, disk, known) == (what == "good"), f"a server's certificate {what}"
        if what == "for another host":
            assert opens(qemu_img, disk, known, "example.org")
    if "mutual_tls" not in target.description.options:
        not_run("clients' certificates: the target has no option mutual_tls")
        return
    disk = new_disk(mutual_tls=str(scratch / "good"))
    strangers = {
        "none": ours.trust(scratch / "none"),
        "of another CA": ours.trust(theirs.issue(scratch / "stranger", "client")),
        "expired": ours.issue(scratch / "old", "client", days=-3),
    }
    assert is_let_in(disk, known)
    assert opens(qemu_img, disk, known)
    for what, certificates in strangers.items():
        assert not is_let_in(disk, certificates), f"a client's certificate: {what}"
        assert not opens(qemu_img, disk, certificates), f"a client's certificate: {what}"
    assert is_let_in(disk, known)
