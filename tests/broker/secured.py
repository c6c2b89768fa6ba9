"""A broker with TLS and SASL on: a certificate authority of the test's own, and a user with a password (SCRAM)."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.broker import java
from tests.broker.kafka import Broker, free_ports

_MORE = """\
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller_port}},SECURED://127.0.0.1:{secured_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SECURED://127.0.0.1:{secured_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL
inter.broker.listener.name=PLAINTEXT
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location={keystore}
listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secured.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
USER = "playlake"


@dataclass
class SecuredBroker:
    """A broker with two ways in: `plain` for the test itself, and one with TLS and SASL.

    Attributes:
        plain: without either.
        url: of the secured way, as `--broker` takes it.
        authority: PEM file of the certificate authority.
        password: of `USER`.
    """

    plain: Broker
    url: str
    authority: Path
    password: str

    def options(self, **changes: str) -> list[str]:
        """Return what `--kafka-option` needs; `changes` replace values, dots written as underscores."""
        options = {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority),
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password": self.password,
        }
        options |= {name.replace("_", "."): value for name, value in changes.items()}
        return [f"{name}={value}" for name, value in options.items()]


def start(folder: Path, say: Callable[[str], None]) -> SecuredBroker:
    """Start one; its keys are in `folder`.

    Raises:
        NoBroker: as `java.start`.
    """
    (port,) = free_ports(1)
    authority, keystore = folder / "authority.pem", folder / "broker.pem"
    make_certificates(authority, keystore)
    plain = java.start(say, _MORE.format(secured_port=port, keystore=keystore))
    password = secrets.token_hex(16)
    user = UserScramCredentialUpsertion(
        USER, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
    )
    admin = plain.admin()
    admin.alter_user_scram_credentials([user])[USER].result(30)
    return SecuredBroker(plain, f"kafka://127.0.0.1:{port}", authority, password)


def make_certificates(authority: Path, keystore: Path) -> None:
    """Write an authority's certificate, and the key and certificate that it signed for 127.0.0.1."""
    authority_key, broker_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = _name("playlake's tests")
    own = _certificate(name, name, authority_key.public_key())
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = _certificate(_name("127.0.0.1"), name, broker_key.public_key())
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = signed.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    authority.write_bytes(own.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key = broker_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = signed.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    keystore.write_bytes(key + chain)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
