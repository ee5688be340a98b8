"""Keys and tokens for JWT tests."""

import base64
import hashlib
import hmac
import json
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER = "agentgateway.dev"
AUDIENCE = "test.agentgateway.dev"


class Key:
    """A private key with its public forms."""

    def __init__(self, algorithm: str, kid: str = "key-1"):
        self.algorithm, self.kid = algorithm, kid
        if algorithm.startswith("RS"):
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    @property
    def private_pem(self) -> str:
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def jwk(self) -> dict:
        to_jwk = jwt.get_algorithm_by_name(self.algorithm).to_jwk
        return {**to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def jwks(self) -> dict:
        return {"keys": [self.jwk]}

    def token(self, headers=None, **claims) -> str:
        return jwt.encode(payload(**claims), self.private, self.algorithm, headers={"kid": self.kid, **(headers or {})})


def payload(**claims) -> dict:
    """Claims that are accepted; a claim of None is left out."""
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "me", "iat": now, "exp": now + 600, **claims}
    return {name: value for name, value in whole.items() if value is not None}


def _part(data) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(alg="none", **claims) -> str:
    """A token that says it needs no signature."""
    return f"{_part({'alg': alg, 'typ': 'JWT'})}.{_part(payload(**claims))}."


def signed_with_public_key(public: str, **claims) -> str:
    """A token that takes the issuer's public key for a shared secret (the key confusion attack)."""
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(payload(**claims))}"
    return f"{signed}.{_part(hmac.new(public.encode(), signed.encode(), hashlib.sha256).digest())}"


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]
