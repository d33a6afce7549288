"""Certificates for tests, valid for `localhost` and 127.0.0.1."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec import Struct


class Identity(Struct, frozen=True):
    """PEM files of a certificate and of its key, which has no password."""

    certificate: Path
    key: Path

    @property
    def pem(self) -> str:
        """Key and certificate in one text."""
        return self.key.read_text() + self.certificate.read_text()


class Tls(Struct, frozen=True):
    """What a server and its clients need to trust each other; `authority` is the PEM file of who signed the rest."""

    authority: Path
    server: Identity
    client: Identity

    @classmethod
    def make(cls, folder: Path) -> Tls:
        """Make all of it, in files in `folder`."""
        authority = Authority(folder)
        return cls(authority.certificate, authority.issue("server"), authority.issue("client"))


class Authority:
    """One who signs certificates. Its own is in `certificate`, a PEM file."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._signed = self._sign(name, self._key, issuer=None)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(self._signed.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> Identity:
        """A new key with its certificate, for a server or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        identity = Identity(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        identity.certificate.write_bytes(self._sign(name, key, issuer=self._signed).public_bytes(Encoding.PEM))
        identity.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return identity

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now, signer = datetime.now(UTC), self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
            .add_extension(_usage(ca=issuer is None), critical=True)
        )
        if issuer is not None:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _usage(*, ca: bool) -> x509.KeyUsage:
    """An authority's key signs certificates, any other key only what is said. Python 3.13 wants to see it."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
