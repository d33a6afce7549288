"""Who may do what, over HTTP and HTTPS, and what the log says of it."""

from __future__ import annotations

import base64
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.api.conftest import SECRET, TOKEN
from tests.api.http import Client, envelope, events_of, new_id, raw, slot
from tests.service import Service, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADMIN = {"user": {"username": "boss", "role": "admin"}}
PASSWORD = b"p4ssw0rd"


def bearer(claims: dict[str, Any], key: str = SECRET, algorithm: str = "HS256") -> dict[str, str]:
    """The header of a JWT."""
    return {"authorization": f"Bearer {jwt.encode(claims, key, algorithm)}"}


def user(name: str) -> dict[str, Any]:
    """The claims of a user who owns a conversation."""
    return {"user": {"username": name, "role": "user"}}


def part(value: object) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class TestTokens:
    def test_a_token_may_do_everything(self, guest: Client) -> None:
        assert guest.get(f"/status?token={TOKEN}").status == 200
        assert guest.post(new_id(), slot(1), f"?token={TOKEN}").status == 200

    @pytest.mark.parametrize(
        "query", ["", "?token=", "?token=wrong", f"?token=x&token={TOKEN}", f"?token={TOKEN}x", "?token=%00"]
    )
    def test_without_the_right_one_nobody_is_known(self, guest: Client, query: str) -> None:
        envelope(guest.get("/status" + query), 401, "NotAuthenticated")

    @pytest.mark.parametrize(
        "path",
        ["/", "/version", "/livez", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/webhooks/rest"],
    )
    def test_some_pages_are_for_everybody(self, guest: Client, path: str) -> None:
        assert guest.get(path).status == 200


class TestJwt:
    def test_an_admin_may_do_everything(self, guest: Client) -> None:
        assert guest.get("/status", **bearer(ADMIN)).status == 200
        assert guest.post(new_id(), slot(1), **bearer(ADMIN)).status == 200

    @pytest.mark.parametrize("name", ["a/b", "ü x", "..", "default", "😀"])
    def test_a_user_may_use_the_own_conversation(self, guest: Client, name: str) -> None:
        assert guest.post(name, slot(1), **bearer(user(name))).status == 200
        assert guest.tracker(name, **bearer(user(name))).status == 200

    @pytest.mark.parametrize(
        "path",
        [
            "/status",
            "/domain",
            "/turnlog/v1/events",
            "/turnlog/v1/conversations",
            "/conversations/other/tracker",
            "/conversations//tracker",
        ],
    )
    def test_a_user_may_do_nothing_else(self, guest: Client, path: str) -> None:
        envelope(guest.get(path, **bearer(user("mine"))), 403, "NotAuthorized")

    @pytest.mark.parametrize("name", ["", None, 7, ["default"], {"default": 1}])
    def test_a_user_without_a_name_owns_nothing(self, guest: Client, name: object) -> None:
        claims = {"user": {"username": name, "role": "user"}}
        for path in ("/conversations//tracker", "/conversations/default/tracker"):
            envelope(guest.get(path, **bearer(claims)), 403, "NotAuthorized")

    def test_an_empty_path_is_the_default_conversation(self, guest: Client) -> None:
        assert guest.get("/conversations//tracker", **bearer(user("default"))).status == 200

    @pytest.mark.parametrize(
        "claims",
        [{}, {"user": None}, {"user": "boss"}, {"user": {"role": "Admin"}}, {"username": "boss", "role": "admin"}],
    )
    def test_a_jwt_without_a_role_may_do_nothing(self, guest: Client, claims: dict[str, Any]) -> None:
        envelope(guest.get("/status", **bearer(claims)), 403, "NotAuthorized")

    @pytest.mark.parametrize(
        "claims", [{"exp": 1}, {"nbf": 9e9}, {"iat": 9e9}, {"aud": "others"}, {"exp": "x"}, {"exp": time.time() - 200}]
    )
    def test_claims_that_do_not_hold_make_it_invalid(self, guest: Client, claims: dict[str, Any]) -> None:
        envelope(guest.get("/status", **bearer(ADMIN | claims)), 401, "NotAuthenticated")

    def test_clocks_may_differ_by_three_minutes(self, guest: Client) -> None:
        assert guest.get("/status", **bearer(ADMIN | {"exp": time.time() - 100})).status == 200

    def test_another_algorithm_or_key_makes_it_invalid(self, guest: Client) -> None:
        header, claims, signature = jwt.encode(ADMIN, SECRET, "HS256").split(".")
        tokens = [
            jwt.encode(ADMIN, "another-secret-of-32-characters-or-more", "HS256"),
            jwt.encode(ADMIN, SECRET * 2, "HS512"),
            f"{part({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
            f"{part({'alg': 'None'})}.{claims}.{signature}",
            f"{part({'alg': 'HS512'})}.{claims}.{signature}",
            f"{header}.{part(ADMIN | {'x': 1})}.{signature}",
            f"{header}.{claims}.{'A' * len(signature)}",
            f"{header}.{claims}",
            f"{header}.{claims}.{signature}.x",
            "",
            "x",
            "..",
            "\u00ff",
        ]
        for token in tokens:
            envelope(guest.get("/status", authorization=f"Bearer {token}"), 401, "NotAuthenticated")

    @pytest.mark.parametrize("form", ["bearer {}", "Bearer  {}", "Bearer {} x", "Token {}", "{}", "Basic {}"])
    def test_another_form_of_the_header_is_no_login(self, guest: Client, form: str) -> None:
        header = form.replace("{}", jwt.encode(ADMIN, SECRET, "HS256"))
        envelope(guest.get("/status", authorization=header), 401, "NotAuthenticated")

    def test_the_token_suffices_beside_a_wrong_jwt(self, guest: Client) -> None:
        assert guest.get(f"/status?token={TOKEN}", authorization="Bearer x").status == 200

    def test_a_bearer_token_is_no_token_while_jwts_are_on(self, guest: Client) -> None:
        envelope(guest.get("/status", authorization=f"Bearer {TOKEN}"), 401, "NotAuthenticated")

    @pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000, "ü\r\n"])
    def test_an_admin_of_an_odd_name_may_write(self, guest: Client, name: str) -> None:
        claims = {"user": {"username": name, "role": "admin"}}
        assert guest.post(new_id(), slot(1), **bearer(claims)).status == 200


class TestAccessLog:
    def test_has_each_request_without_its_tokens(self, guarded: Service, guest: Client) -> None:
        name = new_id()
        login = bearer(ADMIN)
        guest.post(name, slot(1), f"?token={TOKEN}&output_channel=x", x_request_id=name)
        guest.get(f"/conversations/{name}/tracker?to%6Ben={TOKEN}&until=1", x_request_id=name)
        guest.get("/status?token=wrong-one", x_request_id=name)
        guest.get("/status", x_request_id=name, **login)
        raw(guarded.port, f"GET /{name}?token={TOKEN} HTTP/1.1\r\nConnection: close\r\nBad\r\n\r\n".encode())

        def lines() -> list[dict[str, Any]]:
            return [line for line in guarded.logged("request") if line["request_id"] == name]

        wait_until(lambda: len(lines()) == 4, "all requests are logged")
        assert [line["status"] for line in lines()] == [200, 200, 401, 200]
        assert lines()[0]["query"] == "token=***&output_channel=x"
        assert lines()[0]["path"] == events_of(name)
        text = guarded.log.read_text()
        for secret in (TOKEN, "wrong-one", SECRET, login["authorization"].split()[1]):
            assert secret not in text


def _key_usage(*, ca: bool) -> x509.KeyUsage:
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


class Authority:
    """One who signs certificates."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.signed(name, self.key, None)

    def signed(self, name: str, key: ec.EllipticCurvePrivateKey, issuer: Authority | None) -> x509.Certificate:
        """A certificate of a key."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now, signer = datetime.now(UTC), (issuer or self).key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .add_extension(_key_usage(ca=issuer is None), critical=True)
        )
        if issuer is not None:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("127.0.0.1")])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(signer, hashes.SHA256())

    def write(self, folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
        """Files of a new certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        certificate, keyfile = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.signed(name, key, self).public_bytes(Encoding.PEM))
        keyfile.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return certificate, keyfile


@pytest.fixture(scope="module")
def authority(home: Path) -> Authority:
    """The authority of these tests, whose certificate is in a file."""
    authority = Authority("tests")
    (home / "ca.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    return authority


@pytest.fixture(scope="module")
def secure(home: Path, authority: Authority, service: Service) -> Iterator[Service]:
    """A service with HTTPS, whose key has a password."""
    certificate, keyfile = authority.write(home, "server", PASSWORD)
    flags: list[str | Path] = [
        "--enable-api",
        "--ssl-certificate",
        certificate,
        "--ssl-keyfile",
        keyfile,
        "--ssl-ca-file",
        home / "ca.pem",
    ]
    password = {"TURNLOG_SSL_PASSWORD": PASSWORD.decode()}
    with Service(home, flags, environment=password, data_dir=service.data_dir) as secure:
        wait_until(lambda: any("serving on https" in line["event"] for line in secure.lines()), "it serves")
        yield secure


def trusting(home: Path) -> ssl.SSLContext:
    """A client's context that knows the authority."""
    context = ssl.create_default_context(cafile=str(home / "ca.pem"))
    context.check_hostname = False
    return context


class TestHttps:
    def test_serves_with_a_key_that_has_a_password(self, home: Path, secure: Service) -> None:
        client = Client(secure.port, trusting(home))
        assert client.post(new_id(), slot(1)).status == 200
        client.close()

    def test_takes_a_client_with_a_certificate_of_the_authority(
        self, home: Path, authority: Authority, secure: Service
    ) -> None:
        context = trusting(home)
        context.load_cert_chain(*authority.write(home, "client"))
        client = Client(secure.port, context)
        assert client.get("/version").status == 200
        client.close()

    def test_refuses_a_client_with_a_certificate_of_somebody_else(self, home: Path, secure: Service) -> None:
        context = trusting(home)
        context.load_cert_chain(*Authority("others").write(home, "stranger"))
        client = Client(secure.port, context)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.get("/version")
        client.close()

    def test_does_not_answer_plain_http(self, secure: Service) -> None:
        assert b"200" not in raw(secure.port, b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    def test_does_not_begin_with_a_wrong_password(self, home: Path, secure: Service) -> None:
        flags: list[str | Path] = [
            "--enable-api",
            "--ssl-certificate",
            home / "server.pem",
            "--ssl-keyfile",
            home / "server.key",
        ]
        with Service(home, flags, environment={"TURNLOG_SSL_PASSWORD": "wrong"}, data_dir=secure.data_dir) as broken:
            assert broken.status() == 1
            assert "--ssl-certificate" in broken.log.read_text()
