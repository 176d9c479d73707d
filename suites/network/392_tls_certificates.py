"""This case checks that QEMU and the server connect only if both certificates are valid.

How: server certificates that have expired, are of another CA, or are for another host; client
certificates of another CA, expired ones, and none. Each is refused, valid ones are accepted, and
the server continues to serve.
Related: starttls-state-carried, acl-prefix-match.
"""

from qbdcheck.kit import Authority, SetupError, case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.nbd import Client, NbdProtocolError, client_context


def opens(qemu_img, disk, certificates, name="localhost"):
    """Return whether QEMU opens the disk."""
    creds = f"tls-creds-x509,id=tls,endpoint=client,dir={certificates}"
    qemu_img.objects[:] = [creds]
    node = disk.protocol_blockdev(tls_creds="tls", tls_hostname=name)
    return qemu_img.run("info", json_filename(node), check=False).returncode == 0


def accepts_client(disk, certificates, length):
    """Return whether the server serves a raw client."""
    try:
        with Client.connect(disk.uri, tls=client_context(certificates), timeout_s=5) as client:
            return not any(client.read(0, length))
    except (OSError, EOFError, NbdProtocolError):
        return False


@case(
    groups="protocol tls",
    requires="nbd tls",
    basis=("MUST: NBD, TLS support", "MUST: QAPI, BlockdevOptionsNbd"),
)
def test(new_disk, scratch, qemu_img, not_run, target):
    length = 4096 * target.scale
    ours, theirs = Authority("ours"), Authority("theirs")
    known = ours.issue(scratch / "known", "client")
    for what, issuer, options in (
        ("good", ours, {}),
        ("expired", ours, {"days": -3}),
        ("of another CA", theirs, {}),
        ("for another host", ours, {"host": "example.org"}),
    ):
        server = issuer.issue(scratch / what.replace(" ", "_"), "server", **options)
        try:
            disk = new_disk(tls=str(server))
        except SetupError as error:
            assert what == "expired", (
                f"a server with a certificate {what} does not start: {error}"
            )  # gnutls checks its own certificate at start
            continue
        opened = opens(qemu_img, disk, known)
        assert opened == (what == "good"), (
            f"a server's certificate, {what}: QEMU opens it: {opened}"
        )
        if what == "for another host":
            opened = opens(qemu_img, disk, known, "example.org")
            assert opened, "QEMU refuses a certificate for example.org with that as tls-hostname"
    if "mutual_tls" not in target.description.options:
        not_run("the target has no option mutual_tls for client certificates")
        return
    disk = new_disk(mutual_tls=str(scratch / "good"))
    strangers = {
        "none": ours.trust(scratch / "none"),
        "of another CA": ours.trust(theirs.issue(scratch / "stranger", "client")),
        "expired": ours.issue(scratch / "old", "client", days=-3),
    }
    assert accepts_client(disk, known, length), (
        "the server refuses a raw client with a valid certificate"
    )
    assert opens(qemu_img, disk, known), "the server refuses QEMU with a valid certificate"
    for what, certificates in strangers.items():
        accepted = accepts_client(disk, certificates, length)
        assert not accepted, f"the server accepts a raw client with the certificate: {what}"
        accepted = opens(qemu_img, disk, certificates)
        assert not accepted, f"the server accepts QEMU with the certificate: {what}"
    accepted = accepts_client(disk, known, length)
    assert accepted, "the server refuses a valid client after invalid ones"
