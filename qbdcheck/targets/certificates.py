"""Valid and invalid x509 certificates, in directories with QEMU's file names.

The file names are those of QEMU's docs/system/tls.rst ("tls-creds-x509"). nbdkit and the reference
backend use the same names.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority. It also signs certificates that no client should accept."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(self.name, self.key, days=30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.certificate = builder.add_extension(usage, True).sign(self.key, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        start = now - 2 * abs(days) * DAY
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(now + days * DAY)
        )

    def issue(self, directory: Path, role: str, *, days: int = 30, host: str = "localhost") -> Path:
        """Write the certificates of the CA and the role, and the role's key. Return the directory.

        :param role: ``server`` or ``client``.
        :param days: validity in days from now; negative: expired.
        :param host: host name of a server's certificate; localhost includes 127.0.0.1.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)])
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        purpose = {
            "server": ExtendedKeyUsageOID.SERVER_AUTH,
            "client": ExtendedKeyUsageOID.CLIENT_AUTH,
        }[role]
        builder = self._builder(subject, key, days)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        certificate = builder.sign(self.key, hashes.SHA256())
        directory.mkdir(mode=0o700, exist_ok=True)
        pem = serialization.Encoding.PEM
        (directory / "ca-cert.pem").write_bytes(self.certificate.public_bytes(pem))
        (directory / f"{role}-cert.pem").write_bytes(certificate.public_bytes(pem))
        (directory / f"{role}-key.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return directory

    def trust(self, directory: Path) -> Path:
        """Write only the CA's certificate, for a client without its own. Return the directory."""
        directory.mkdir(mode=0o700, exist_ok=True)
        pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        (directory / "ca-cert.pem").write_bytes(pem)
        return directory
