"""The two authorities that a client of the sandbox must trust: WhatsApp's own, and the one of TLS.

**WhatsApp's.** Inside the Noise handshake the server proves itself with a chain of two small protobuf certificates. The
root, whose public key is built into the client, signs the intermediate; the intermediate signs the leaf; the leaf holds
the server's Noise static key. Serial 0 stands for the root, and each certificate names the serial of its issuer. The
engine puts the sandbox's root in the place of the built-in key, in its own process only.

**TLS.** The websocket and the media hosts are HTTPS. `TlsAuthority` makes an authority and one server certificate for
all the names. A client trusts it through `SSL_CERT_FILE=<ca_file>`. EC P-256; the private keys are readable by their
owner only, because whoever has them can pose as any host to a process that trusts this authority.
"""

import datetime as dt
import ipaddress
import os
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge.protos import cert
from bridge.sandbox.keys import KeyPair, xeddsa_sign

MEDIA_HOST: Final = "media.sandbox.test"
"""The host name to put into media_conn. `.test` never resolves (RFC 6761): it is reachable through our proxy only."""

HOSTS: Final = (
    "web.whatsapp.com",
    "*.whatsapp.com",
    "*.whatsapp.net",
    "mmg.whatsapp.net",
    "pps.whatsapp.net",
    MEDIA_HOST,
    "localhost",
)

_VALID: Final = dt.timedelta(days=3650)
_RENEW_BEFORE: Final = dt.timedelta(days=30)
_CLOCK_SKEW: Final = dt.timedelta(days=1)


def chain(root: KeyPair, leaf_public: bytes, now: dt.datetime | None = None) -> bytes:
    """Return a serialised `CertChain` in which `root` vouches, through a new intermediate, for the Noise key."""
    at = now or dt.datetime.now(dt.UTC)
    intermediate = KeyPair()
    return bytes(
        cert.CertChain(
            intermediate=_certificate(root, at, serial=1, issuer=0, key=intermediate.public),
            leaf=_certificate(intermediate, at, serial=2, issuer=1, key=leaf_public),
        ).SerializeToString()
    )


def _certificate(
    signer: KeyPair, at: dt.datetime, *, serial: int, issuer: int, key: bytes
) -> "cert.CertChain.NoiseCertificate":
    kind = cert.CertChain.NoiseCertificate
    details = kind.Details(
        serial=serial,
        issuerSerial=issuer,
        key=key,
        notBefore=int((at - _CLOCK_SKEW).timestamp()),
        notAfter=int((at + _VALID).timestamp()),
    ).SerializeToString()
    return kind(details=details, signature=xeddsa_sign(signer.private, details))


class TlsAuthority:
    """An authority of our own and a server certificate, kept in a directory: the same ones after a restart."""

    def __init__(self, directory: Path) -> None:
        """Load both from the directory; make what is missing, unreadable, about to expire, or lacks a name."""
        directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = directory / "ca.pem"
        """What a client is to trust (a certificate, no key)."""
        self._ca_key_file = directory / "ca.key"
        self._server_file = directory / "server.pem"
        if not _in_order(self.ca_file, ()) or not self._ca_key_file.exists():
            self._make_authority()
            self._make_server()
        elif not _in_order(self._server_file, HOSTS):
            self._make_server()

    def server_context(self) -> ssl.SSLContext:
        """Return the context with which to accept connections to any of the hosts."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._server_file)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a context that trusts this authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WhatsApp sandbox authority")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self._ca_key_file, _private_pem(key), 0o600)
        _write(self.ca_file, certificate.public_bytes(Encoding.PEM), 0o644)

    def _make_server(self) -> None:
        authority = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        authority_key = load_pem_private_key(self._ca_key_file.read_bytes(), None)
        assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in HOSTS]
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        issuer_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WhatsApp sandbox")])
        certificate = (
            _builder(subject, authority.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )
        _write(self._server_file, certificate.public_bytes(Encoding.PEM) + _private_pem(key), 0o600)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _in_order(path: Path, hosts: tuple[str, ...]) -> bool:
    """Say whether the file holds a certificate that is valid for a while yet and has these names."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    if certificate.not_valid_after_utc - _RENEW_BEFORE < dt.datetime.now(dt.UTC):
        return False
    if not hosts:
        return True
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(hosts) <= set(names.get_values_for_type(x509.DNSName))


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write the file whole or not at all; its content is never readable by more than `mode` says."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    partial.replace(path)
