"""Certificates of our own making: an authority, and what it signs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from ssl import CERT_REQUIRED, PROTOCOL_TLS_SERVER, SSLContext

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """PEM files: a certificate and its key; `locked_key` is the key with a passphrase."""

    cert_file: str
    key_file: str
    locked_key: str


class Authority:
    """Signs certificates for 127.0.0.1 and localhost; `ca_file` is its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        ca = self._certificate(self._name, self._key).add_extension(constraints, critical=True)
        self.ca_file = self._write("ca.pem", _pem(ca.sign(self._key, hashes.SHA256())))

    def issue(self, name: str, *, hours: float = 1, host: str | None = None) -> Pair:
        """Sign one. `hours`: until it ends, below 0 where it has ended; `host`: instead of this machine's."""
        key = ec.generate_private_key(ec.SECP256R1())
        ours = [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
        names = x509.SubjectAlternativeName(ours if host is None else [x509.DNSName(host)])
        certificate = self._certificate(_name(name), key, hours).add_extension(names, critical=False)
        return Pair(
            self._write(f"{name}.pem", _pem(certificate.sign(self._key, hashes.SHA256()))),
            self._write(f"{name}.key", _key_pem(key, serialization.NoEncryption())),
            self._write(f"{name}.locked", _key_pem(key, serialization.BestAvailableEncryption(b"passphrase"))),
        )

    def server(self, *, asks: bool = False) -> SSLContext:
        """Return a server's context; `asks`: only for clients with a certificate of ours."""
        context, pair = SSLContext(PROTOCOL_TLS_SERVER), self.issue("server")
        context.load_cert_chain(pair.cert_file, pair.key_file)
        if asks:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = CERT_REQUIRED
        return context

    def _certificate(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, hours: float = 1
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=24))
            .not_valid_after(now + timedelta(hours=hours))
        )

    def _write(self, name: str, content: bytes) -> str:
        path = self._directory / name
        path.write_bytes(content)
        return str(path)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
