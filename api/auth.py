"""Who sends a request, and what they may do: tokens and JWTs, by Rasa's rules.

* Neither configured: everybody may do everything.
* A token, in the query parameter `token`: everything. Where JWTs are off, `Authorization: Bearer <token>` does as well.
* A JWT, in `Authorization: Bearer <jwt>`, with the payload `{"user": {"username": "<conversation>", "role": "admin"}}`:
  the role `admin` may do everything, the role `user` may use the conversation whose id is the username. Where there is
  no `username`, `user` may hold it, as early as in rasa_core 0.11.
* Both configured: either suffices, and the token is looked at first.

Several tokens and several keys may be valid at once, so that they can be replaced without an interruption.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import HMACAlgorithm, RSAAlgorithm, get_default_algorithms

from api.errors import NotAuthenticated, NotAuthorized
from assistant.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwt.algorithms import AllowedPublicKeys

JwtMethod = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"
]  # fmt: skip
JWT_METHODS: Final[tuple[JwtMethod, ...]] = get_args(JwtMethod)

MIN_RSA_BITS: Final = 2048
CACHE_SECONDS: Final = 60.0
CACHE_ENTRIES: Final = 4096


class JwtSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How JWTs are verified.

    Attributes:
        secrets: shared secrets (HS) or public keys as PEM text (RS, ES, PS); a token signed with any of them is valid.
        method: the one allowed algorithm.
        leeway: seconds by which clocks may differ when `exp`, `nbf` and `iat` are checked.
    """

    secrets: tuple[Secret, ...]
    method: JwtMethod = "HS256"
    leeway: float = 180.0


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use the service.

    Attributes:
        tokens: that are accepted.
        jwt: how JWTs are verified; None: they are not.
        webhooks: whether the channels' webhooks and sockets ask for them as well.
    """

    tokens: tuple[Secret, ...] = ()
    jwt: JwtSettings | None = None
    webhooks: bool = False

    @property
    def required(self) -> bool:
        """Whether a request must authenticate at all."""
        return bool(self.tokens) or self.jwt is not None


class Identity(msgspec.Struct, frozen=True):
    """Who sends a request.

    `role` and `username` are what a JWT says of its user, where it says it in the right form; None otherwise.
    """

    kind: Literal["anonymous", "token", "jwt"]
    role: str | None = None
    username: str | None = None


ANONYMOUS: Final = Identity("anonymous")
TOKEN: Final = Identity("token")


class InvalidKey(ValueError):
    """A JWT secret or public key that can't be used; the message says why, without showing the key."""


class Authenticator:
    """Decides about requests; one per process. `clock` gives the time in unix seconds.

    Raises:
        InvalidKey: when a JWT key does not fit its method.
    """

    def __init__(self, settings: AuthSettings, clock: Callable[[], float] = time.time) -> None:
        self._required = settings.required
        self._tokens = [_digest(token.value) for token in settings.tokens]
        self._jwt = None if settings.jwt is None else _JwtVerifier(settings.jwt, clock)

    def authenticate(self, token: str | None, authorization: str | None) -> Identity:
        """Who sends a request with this `token` (query) and this `Authorization` header.

        Raises:
            NotAuthenticated: authentication is on and neither is right.
        """
        if not self._required:
            return ANONYMOUS
        if token and self._is_token(token):
            return TOKEN
        credentials = _bearer(authorization)
        if self._jwt is not None:
            return self._jwt.verify(credentials)
        if self._is_token(credentials):
            return TOKEN
        raise NotAuthenticated

    def authorize(self, identity: Identity, conversation_id: str | None) -> None:
        """Pass if `identity` may use this conversation, or (None) an endpoint without one.

        `conversation_id` is the effective id: percent-decoded, and with the default in place of an empty one.

        Raises:
            NotAuthorized: the identity's role does not allow it.
        """
        if identity.kind != "jwt" or identity.role == "admin":
            return
        if identity.role == "user" and identity.username and identity.username == conversation_id:
            return
        raise NotAuthorized

    def _is_token(self, candidate: str) -> bool:
        digest = _digest(candidate)
        # No short cut: the time must not tell which token is nearly right, nor how many there are before it.
        matches = [hmac.compare_digest(digest, token) for token in self._tokens]
        return any(matches)


def check_key(method: JwtMethod, secret: str) -> None:
    """Pass if `secret` can verify JWTs signed by `method`.

    Raises:
        InvalidKey: it can't.
    """
    _prepare(method, secret)


def _digest(text: str) -> bytes:
    """A digest in place of the text: comparing two takes the same time whatever their lengths."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _bearer(authorization: str | None) -> str:
    """The credentials of a header `Bearer <credentials>`; the scheme's case and the single space matter, as in Rasa."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme != "Bearer" or not credentials or " " in credentials:
        raise NotAuthenticated
    return credentials


class _Verified(msgspec.Struct, frozen=True):
    """A JWT whose signature was right.

    `earliest` and `latest` bound the unix time at which it is valid; `seen` is when its signature was checked.
    """

    identity: Identity
    earliest: float
    latest: float
    seen: float


class _JwtVerifier:
    """Verifies JWTs and remembers the right ones: a check takes 20 (HS) to 100 (ES) microseconds, a look here two."""

    def __init__(self, settings: JwtSettings, clock: Callable[[], float]) -> None:
        self._method = settings.method
        self._leeway = settings.leeway
        self._clock = clock
        self._keys = [_prepare(settings.method, secret.value) for secret in settings.secrets]
        self._jws = _signatures(settings.method)
        self._verified: dict[bytes, _Verified] = {}

    def verify(self, token: str) -> Identity:
        key, now = _digest(token), self._clock()
        verified = self._verified.get(key)
        if verified is None or now - verified.seen > CACHE_SECONDS:
            verified = self._check(token, now)
            self._remember(key, verified)
        if not verified.earliest - self._leeway <= now < verified.latest + self._leeway:
            raise NotAuthenticated
        return verified.identity

    def _check(self, token: str, now: float) -> _Verified:
        claims = self._claims(token)
        if claims.get("aud") or not all(isinstance(claims.get(name, ""), str) for name in ("sub", "jti")):
            raise NotAuthenticated
        earliest = max(_seconds(claims, "nbf", 0), _seconds(claims, "iat", 0))
        return _Verified(_identity(claims), earliest, _seconds(claims, "exp", float("inf")), now)

    def _claims(self, token: str) -> dict[str, Any]:
        """The payload of a rightly signed token."""
        if not token.isascii():
            raise NotAuthenticated
        try:
            claims = json.loads(self._payload(token))
        except (ValueError, RecursionError):
            raise NotAuthenticated from None
        if not isinstance(claims, dict):
            raise NotAuthenticated
        return claims

    def _payload(self, token: str) -> bytes:
        for key in self._keys:
            try:
                payload: bytes = self._jws.decode(token, key, algorithms=[self._method])
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidTokenError:
                break
            return payload
        raise NotAuthenticated

    def _remember(self, key: bytes, verified: _Verified) -> None:
        self._verified.pop(key, None)
        if len(self._verified) >= CACHE_ENTRIES:
            del self._verified[next(iter(self._verified))]
        self._verified[key] = verified


def _identity(claims: dict[str, Any]) -> Identity:
    user = claims.get("user")
    if not isinstance(user, dict):
        return Identity("jwt")
    username = user["username"] if "username" in user else user.get("user")
    return Identity("jwt", _text(user.get("role")), _text(username))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(claims: dict[str, Any], name: str, default: float) -> float:
    """The whole unix seconds of a claim; a number in quotes counts, as in Rasa."""
    if name not in claims:
        return default
    try:
        return float(int(claims[name]))
    except (ValueError, TypeError, OverflowError):
        raise NotAuthenticated from None


class _SharedSecret(HMACAlgorithm):
    """HMAC that says nothing of short secrets: the service says it once, at start, and not with every request."""

    def check_key_length(self, key: bytes) -> None:
        return None


def _signatures(method: JwtMethod) -> jwt.PyJWS:
    """A verifier that knows one algorithm and no other, so that a token can't choose."""
    signatures = jwt.PyJWS(algorithms=[method])
    algorithm = signatures.get_algorithm_by_name(method)
    if isinstance(algorithm, HMACAlgorithm):
        signatures.unregister_algorithm(method)
        signatures.register_algorithm(method, _SharedSecret(algorithm.hash_alg))
    return signatures


def _prepare(method: JwtMethod, secret: str) -> AllowedPublicKeys | bytes:
    """The key in the form that verifies fastest, checked to be of the method's kind."""
    if not secret.strip():
        raise InvalidKey("is empty")
    algorithm = get_default_algorithms()[method]
    try:
        key = algorithm.prepare_key(secret)
    except (jwt.InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise InvalidKey(_misfit(method)) from error
    if isinstance(algorithm, RSAAlgorithm) and key.key_size < MIN_RSA_BITS:
        raise InvalidKey(f"is an RSA key of {key.key_size} bits; shorter than {MIN_RSA_BITS} is not safe")
    public: AllowedPublicKeys | bytes = (
        key.public_key() if isinstance(key, (RSAPrivateKey, EllipticCurvePrivateKey)) else key
    )
    return public


def _misfit(method: JwtMethod) -> str:
    if method.startswith("HS"):
        return (
            f"is an asymmetric key or a certificate, but {method} takes a shared secret: whoever knows the public key "
            "could sign tokens. Give --jwt-method the method of the key (RS256, ES256, PS256 ...)"
        )
    return f"is not a public key in PEM format that fits {method}"
