"""TLS contexts from a directory of x509 certificates, with QEMU's file names.

QEMU (docs/system/tls.rst, "tls-creds-x509"): ``ca-cert.pem``, ``server-cert.pem``,
``server-key.pem``, ``client-cert.pem``, ``client-key.pem``. TLS 1.2 is the oldest version allowed
(NBD document, "TLS versions").
"""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(directory: Path, *, verify_peer: bool = False) -> ssl.SSLContext:
    """Return a server's context; with ``verify_peer``, clients need a certificate of the same CA.

    :raise OSError: a file is missing.
    :raise ssl.SSLError: a file is not a certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(directory / "server-cert.pem", directory / "server-key.pem")
    if verify_peer:
        context.load_verify_locations(directory / "ca-cert.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(directory: Path) -> ssl.SSLContext:
    """Return a client's context that trusts the directory's CA and has its certificate, if any.

    :raise OSError: the CA file is missing.
    :raise ssl.SSLError: a file is not a certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(directory / "ca-cert.pem")
    certificate = directory / "client-cert.pem"
    if certificate.exists():
        context.load_cert_chain(certificate, directory / "client-key.pem")
    return context
