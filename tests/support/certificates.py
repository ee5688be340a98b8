"""Authorities and certificates, made for a test."""

import datetime
import ipaddress
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class Certificate:
    """A certificate with its key, as files too."""

    def __init__(self, folder: pathlib.Path, name: str, certificate: x509.Certificate, key):
        self.serial = certificate.serial_number
        self.cert, self.key = folder / f"{name}.crt", folder / f"{name}.key"
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.cert.write_bytes(self.pem)
        self.key.write_bytes(_pem(key))

    @property
    def files(self) -> dict:
        """As the configuration names them."""
        return {"cert": str(self.cert), "key": str(self.key)}


class Authority:
    def __init__(self, folder: pathlib.Path, name: str = "authority"):
        self.folder, self.name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(name))
        builder = builder.public_key(self._key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - DAY).not_valid_after(now + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = {"digital_signature": True, "key_cert_sign": True, "crl_sign": True}
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
        builder = builder.add_extension(x509.KeyUsage(**usage, **dict.fromkeys(others, False)), critical=True)
        subject_key = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._certificate = builder.add_extension(subject_key, critical=False).sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        self.file.write_bytes(self.pem)

    def issue(self, *names: str, uris=(), common=None, rsa_key=False, expired=False, file=None) -> Certificate:
        """For servers and clients. Names that are addresses become such."""
        key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        end = datetime.datetime.now(datetime.UTC) + (-DAY / 2 if expired else DAY / 2)
        builder = x509.CertificateBuilder().subject_name(_name(common or (names[0] if names else "leaf")))
        builder = builder.issuer_name(self._certificate.subject).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(end - DAY).not_valid_after(end)
        alternatives = [_general(name) for name in names] + [x509.UniformResourceIdentifier(uri) for uri in uris]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        self._count += 1
        return Certificate(self.folder, file or f"{self.name}-{self._count}", certificate, key)

    def client(self, own: Certificate | None = None, alpn=None) -> ssl.SSLContext:
        """How a client connects that trusts this authority."""
        context = ssl.create_default_context(cadata=self.pem.decode())
        if own:
            context.load_cert_chain(own.cert, own.key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def server(self, own: Certificate, ask_clients=False, alpn=None) -> ssl.SSLContext:
        """How a server is reached that has a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.cert, own.key)
        if ask_clients:
            context.load_verify_locations(cadata=self.pem.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def serial_of(connection: ssl.SSLSocket) -> int:
    """Serial number of the certificate that the server showed."""
    return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number
