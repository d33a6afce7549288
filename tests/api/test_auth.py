"""Who may do what: recorded answers of Rasa first, then what is ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from api.auth import (
    ANONYMOUS,
    CACHE_ENTRIES,
    CACHE_SECONDS,
    TOKEN,
    Authenticator,
    AuthSettings,
    Identity,
    InvalidKey,
    JwtMethod,
    JwtSettings,
    check_key,
)
from api.errors import ApiError, NotAuthenticated, NotAuthorized
from assistant.secret import Secret

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
RECORDED = json.loads((Path(__file__).parent.parent / "data" / "auth_recorded.json").read_text())


class Clock:
    """A time that a test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def authenticator(
    *tokens: str,
    secrets: tuple[str, ...] = (),
    method: JwtMethod = "HS256",
    clock: Clock | None = None,
    leeway: int = 180,
) -> Authenticator:
    verified = JwtSettings(secrets=tuple(map(Secret, secrets)), method=method, leeway=leeway) if secrets else None
    return Authenticator(AuthSettings(tokens=tuple(map(Secret, tokens)), jwt=verified), clock or Clock())


def signed(claims: object, secret: str = SECRET, header: dict[str, Any] | None = None) -> str:
    """A header value with a JWT that is signed by HS256, whatever its header says."""
    parts = [header or {"alg": "HS256", "typ": "JWT"}, claims]
    text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"Bearer {text}.{_base64(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def user(role: object = "user", username: object = "ann", **claims: Any) -> dict[str, Any]:
    return {"user": {"role": role, "username": username}} | claims


@cache
def key(kind: str) -> Any:
    """A private key; one per kind is enough for all tests."""
    curves = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}
    if kind in curves:
        return ec.generate_private_key(curves[kind]())
    return rsa.generate_private_key(65537, int(kind))


def public(kind: str) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    data: bytes = key(kind).public_key().public_bytes(serialization.Encoding.PEM, form)
    return data.decode()


def private(kind: str) -> str:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    data: bytes = key(kind).private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return data.decode()


def answer(auth: Authenticator, conversation: str | None, token: str | None, authorization: str | None) -> int:
    """The status of a request that is right in every other way."""
    try:
        auth.authorize(auth.authenticate(token, authorization), conversation)
    except ApiError as error:
        return error.status
    return 200


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["name"])
def test_a_recorded_request_is_answered_as_rasa_answers_it_or_as_its_difference_says(row: dict[str, Any]) -> None:
    auth = authenticator(*row["tokens"], secrets=tuple(row["secrets"]), clock=Clock(row["at"]))
    assert answer(auth, row["conversation"], row["token"], row["authorization"]) == row["answer"]


def test_every_recorded_request_that_is_answered_otherwise_than_by_rasa_says_why() -> None:
    refused = [row for row in RECORDED if row["recorded"] in (401, 403)]
    assert all(row["answer"] == row["recorded"] or row["difference"] for row in refused)


def test_without_authentication_everybody_may_do_everything() -> None:
    auth = authenticator()
    assert auth.authenticate("junk", "junk") is ANONYMOUS
    auth.authorize(ANONYMOUS, None)


@pytest.mark.parametrize("token", ["old", "new"])
def test_each_of_several_tokens_is_accepted(token: str) -> None:
    assert authenticator("old", "new").authenticate(token, None) is TOKEN


@pytest.mark.parametrize("token", [None, "", "ol", "oldnew", "OLD", "old ", "\ud800"])
def test_any_other_token_is_refused(token: str | None) -> None:
    with pytest.raises(NotAuthenticated):
        authenticator("old", "new").authenticate(token, None)


def test_a_token_may_be_a_bearer_while_jwts_are_off() -> None:
    assert authenticator("t").authenticate(None, "Bearer t") is TOKEN


def test_a_token_may_be_no_bearer_while_jwts_are_on() -> None:
    with pytest.raises(NotAuthenticated):
        authenticator("t", secrets=(SECRET,)).authenticate(None, "Bearer t")


def test_a_wrong_token_falls_back_to_the_jwt() -> None:
    auth = authenticator("t", secrets=(SECRET,))
    assert auth.authenticate("wrong", signed(user("admin"))) == Identity("jwt", "admin", "ann")


@pytest.mark.parametrize("secret", ["old-secret-of-the-service-0123456789", SECRET])
def test_a_jwt_signed_with_any_of_several_secrets_is_accepted(secret: str) -> None:
    auth = authenticator(secrets=("old-secret-of-the-service-0123456789", SECRET))
    assert auth.authenticate(None, signed(user(), secret)) == Identity("jwt", "user", "ann")


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("RS256", "2048"),
        ("RS512", "2048"),
        ("PS256", "2048"),
        ("PS384", "2048"),
        ("ES256", "P-256"),
        ("ES384", "P-384"),
    ],
)
def test_a_jwt_signed_with_a_private_key_is_accepted_by_its_public_key(method: JwtMethod, kind: str) -> None:
    auth = authenticator(secrets=(public(kind),), method=method)
    token = jwt.encode(user(), private(kind), method)
    assert auth.authenticate(None, f"Bearer {token}").username == "ann"


def test_a_jwt_signed_with_a_public_key_as_shared_secret_is_refused() -> None:
    auth = authenticator(secrets=(public("2048"),), method="RS256")
    forged = signed(user("admin"), public("2048"))
    with pytest.raises(NotAuthenticated):
        auth.authenticate(None, forged)


@pytest.mark.parametrize("alg", ["none", "None", "HS384", "HS512", "RS256", "", 5, None, ["HS256"]])
def test_a_jwt_can_not_choose_its_algorithm(alg: object) -> None:
    with pytest.raises(NotAuthenticated):
        authenticator(secrets=(SECRET,)).authenticate(None, signed(user("admin"), header={"alg": alg}))


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 180},
        {"exp": "soon"},
        {"exp": None},
        {"exp": []},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"nbf": NOW + 181},
        {"iat": NOW + 181},
        {"iat": {}},
        {"aud": "somebody"},
        {"aud": ["somebody"]},
        {"sub": 5},
        {"sub": None},
        {"jti": 5},
    ],
    ids=str,
)
def test_a_jwt_with_such_claims_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        authenticator(secrets=(SECRET,)).authenticate(None, signed(user("admin", **claims)))


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 179},
        {"exp": str(int(NOW))},
        {"nbf": NOW + 180},
        {"iat": NOW + 180},
        {"iss": 5},
        {"aud": None},
        {"aud": []},
        {"sub": "ann"},
        {"jti": "1"},
    ],
    ids=str,
)
def test_a_jwt_with_such_claims_is_accepted(claims: dict[str, Any]) -> None:
    assert authenticator(secrets=(SECRET,)).authenticate(None, signed(user("admin", **claims))).role == "admin"


def test_the_leeway_can_be_set() -> None:
    token = signed(user(exp=NOW - 1))
    assert authenticator(secrets=(SECRET,), leeway=2).authenticate(None, token).kind == "jwt"
    with pytest.raises(NotAuthenticated):
        authenticator(secrets=(SECRET,), leeway=0).authenticate(None, token)


def test_a_jwt_that_was_right_is_refused_once_it_has_expired() -> None:
    clock = Clock()
    auth, token = authenticator(secrets=(SECRET,), clock=clock), signed(user(exp=NOW))
    auth.authenticate(None, token)
    clock.now += 180
    with pytest.raises(NotAuthenticated):
        auth.authenticate(None, token)


def test_a_jwt_of_the_future_is_accepted_once_its_time_has_come() -> None:
    clock = Clock()
    auth, token = authenticator(secrets=(SECRET,), clock=clock), signed(user(nbf=NOW + 200))
    with pytest.raises(NotAuthenticated):
        auth.authenticate(None, token)
    clock.now += 20
    assert auth.authenticate(None, token).username == "ann"


def test_verified_jwts_are_remembered_within_bounds_of_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []
    decode = jwt.PyJWS.decode

    def counted(*args: Any, **kwargs: Any) -> Any:
        checks.append("one")
        return decode(*args, **kwargs)

    monkeypatch.setattr(jwt.PyJWS, "decode", counted)
    clock = Clock()
    auth, first = authenticator(secrets=(SECRET,), clock=clock), signed(user())
    auth.authenticate(None, first)
    auth.authenticate(None, first)
    assert len(checks) == 1
    clock.now += CACHE_SECONDS + 1
    auth.authenticate(None, first)
    assert len(checks) == 2
    for number in range(CACHE_ENTRIES):
        auth.authenticate(None, signed(user(username=str(number))))
    auth.authenticate(None, first)
    assert len(checks) == 3 + CACHE_ENTRIES


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "bearer x", "Bearer  x", "Bearer a b", "Token x", "Basic eDp5", "Bearer ü.é.à",
     "Bearer ..", "Bearer \ud800", "Bearer " + "[" * 100_000],
)  # fmt: skip
def test_a_malformed_header_is_refused(header: str | None) -> None:
    with pytest.raises(NotAuthenticated):
        authenticator(secrets=(SECRET,)).authenticate(None, header)


@pytest.mark.parametrize("payload", ["[]", "5", "null", '"text"', "[" * 100_000, "{", '{"exp": ' + "9" * 5000 + "}"])
def test_a_signed_payload_that_is_no_object_is_refused(payload: str) -> None:
    text = _signing_input(payload)
    signature = _base64(hmac.digest(SECRET.encode(), text.encode(), hashlib.sha256))
    with pytest.raises(NotAuthenticated):
        authenticator(secrets=(SECRET,)).authenticate(None, f"Bearer {text}.{signature}")


def _signing_input(payload: str) -> str:
    return _base64(json.dumps({"alg": "HS256"}).encode()) + "." + _base64(payload.encode())


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"username": "ann", "role": "admin"},
        {"user": "ann"},
        {"user": None},
        {"user": ["ann"]},
        user(role="ADMIN"),
        user(role=["admin"]),
        user(role=None),
        user(username="bob"),
        user(username=""),
        user(username=None),
        user(username=["ann"]),
    ],
    ids=str,
)
def test_a_jwt_whose_user_has_no_right_to_the_conversation_is_not_authorized(claims: dict[str, Any]) -> None:
    auth = authenticator(secrets=(SECRET,))
    identity = auth.authenticate(None, signed(claims))
    with pytest.raises(NotAuthorized):
        auth.authorize(identity, "ann")


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"user": "ann", "role": "user"}, 200),
        ({"user": "bob", "role": "user"}, 403),
        ({"username": "ann", "user": "bob", "role": "user"}, 200),
        ({"username": "bob", "user": "ann", "role": "user"}, 403),
        ({"username": None, "user": "ann", "role": "user"}, 403),
    ],
)
def test_a_user_may_be_named_as_early_as_in_rasa_core(claims: dict[str, object], status: int) -> None:
    assert answer(authenticator(secrets=(SECRET,)), "ann", None, signed({"user": claims})) == status


def test_an_empty_username_does_not_own_an_empty_id() -> None:
    with pytest.raises(NotAuthorized):
        authenticator(secrets=(SECRET,)).authorize(Identity("jwt", "user", ""), "")


def test_a_user_may_use_no_endpoint_without_a_conversation() -> None:
    with pytest.raises(NotAuthorized):
        authenticator(secrets=(SECRET,)).authorize(Identity("jwt", "user", "ann"), None)


@given(username=st.text(), conversation=st.text())
def test_a_user_may_use_the_conversation_of_their_own_name_and_no_other(username: str, conversation: str) -> None:
    auth = authenticator(secrets=(SECRET,))
    status = answer(auth, conversation, None, signed(user(username=username)))
    assert (status == 200) == (username == conversation != "")


@given(token=st.text(), authorization=st.text().map(lambda text: "Bearer " + text))
def test_no_input_passes_or_raises_anything_else(token: str, authorization: str) -> None:
    assert answer(authenticator("the-token", secrets=(SECRET,)), None, token, authorization) == 401


@pytest.mark.parametrize("kind", ["2048", "P-256"])
@pytest.mark.parametrize("text", [public, private])
def test_an_asymmetric_key_is_no_shared_secret(kind: str, text: Any) -> None:
    with pytest.raises(InvalidKey, match="--jwt-method"):
        check_key("HS256", text(kind))


@pytest.mark.parametrize(
    ("method", "secret"),
    [
        ("HS256", ""),
        ("HS256", " \n"),
        ("RS256", "a shared secret"),
        ("RS256", public("P-256")),
        ("ES256", public("2048")),
        ("ES256", public("P-384")),
        ("ES384", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"),
        ("PS256", public("1024")),
    ],
)
def test_a_key_that_does_not_fit_its_method_is_refused_without_showing_it(method: JwtMethod, secret: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        check_key(method, secret)
    assert not secret.strip() or secret not in str(caught.value)


def test_the_private_key_in_place_of_the_public_one_verifies_as_well() -> None:
    token = jwt.encode(user(), private("2048"), "RS256")
    assert authenticator(secrets=(private("2048"),), method="RS256").authenticate(None, f"Bearer {token}").kind == "jwt"
