"""The keys and certificates of a federation, as files of one folder: made once, then handed out."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.domain import Mistake

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.x509 import GeneralName, KeyUsage

VALID = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Keys:
    """Where everything lies. The server needs the whole folder; client i needs ``ca.crt`` and ``client-i``, no more."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate by which a client knows the server."""
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        """The server's private key."""
        return self.folder / "server.key"

    def private(self, client: int) -> Path:
        """A client's private key."""
        return self.folder / f"client-{client}"

    def public(self, client: int) -> Path:
        """A client's public key, by which the server knows it."""
        return self.folder / f"client-{client}.pub"

    def clients(self) -> list[int]:
        """The ids of the clients whose public keys are here, ascending."""
        found = (path.stem.removeprefix("client-") for path in self.folder.glob("client-*.pub"))
        return sorted(int(name) for name in found if name.isdecimal())

    def require(self, *paths: Path) -> None:
        """Raise Mistake if one of ``paths`` cannot be read."""
        for path in paths:
            if not os.access(path, os.R_OK):
                raise Mistake(f"--tls: {path} cannot be read; python -m fedsim.pki {self.folder} makes it")


def make(folder: Path, clients: int, hosts: Sequence[str]) -> Keys:
    """Fill a new folder: an authority's certificate, the server's for ``hosts``, and a key pair for each client.

    The authority's key signs once and is never written down. Keys are EC P-384, as Flower wants them; private ones are
    readable by their owner alone. Raises Mistake if the folder holds anything already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Mistake(f"{folder}: is there already; keys are never overwritten, name a new folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        keys = Keys(folder)
        _certify(keys, hosts)
        for client in range(clients):
            _pair(keys, client)
    except OSError as error:
        raise Mistake(f"{folder}: cannot be written: {error.strerror}") from error
    return keys


def load_pair(path: Path) -> tuple[EllipticCurvePrivateKey, EllipticCurvePublicKey]:
    """A client's key pair from its private key, as OpenSSH stores it."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise Mistake(f"--tls: {path} is no OpenSSH private key without a passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Mistake(f"--tls: {path} is no elliptic-curve key; Flower wants EC P-384")
    return key, key.public_key()


def load_public(path: Path) -> EllipticCurvePublicKey:
    """A client's public key, as OpenSSH stores it."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        key = load_ssh_public_key(path.read_bytes())
    except ValueError as error:
        raise Mistake(f"--tls: {path} is no OpenSSH public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Mistake(f"--tls: {path} is no elliptic-curve key; Flower wants EC P-384")
    return key


def _certify(keys: Keys, hosts: Sequence[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    now = datetime.datetime.now(datetime.UTC)
    signing, serving = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    # A client's clock may be behind: an hour's grace.
    blank = x509.CertificateBuilder().not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + VALID)
    blank = blank.issuer_name(named("fedsim federation"))
    signer = x509.SubjectKeyIdentifier.from_public_key(signing.public_key())
    authority = (
        blank.subject_name(named("fedsim federation"))
        .public_key(signing.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(signer, critical=False)
        .sign(signing, hashes.SHA384())
    )
    names = [_name(host) for host in dict.fromkeys(("localhost", "127.0.0.1", *hosts))]
    server = (
        blank.subject_name(named("fedsim server"))
        .public_key(serving.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(serving.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .sign(signing, hashes.SHA384())
    )
    _write(keys.authority, authority.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(keys.certificate, server.public_bytes(serialization.Encoding.PEM), 0o644)
    private = serving.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(keys.key, private, 0o600)


def _usage(certificates: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise Mistake(f"--host: {host!r} is neither an address nor a name in ASCII") from error


def _pair(keys: Keys, client: int) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    _write(keys.private(client), private, 0o600)
    _write(keys.public(client), public + b"\n", 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """A new file that never was readable by more than ``mode`` says."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
