"""An issuer of tokens (JWT): real keys, and a server of their public halves that fails as a test wants."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.serving import Serving

NAME, AUDIENCE = "https://issuer.example", "emendo"
_MAKERS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65_537, 2_048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
_FORMS: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


class Issuer(Serving):
    """A context manager.

    Attributes:
        fault: what the server of the keys does in place of an answer: `down`, `garbage`, `slow`, `huge` or `elsewhere`.
        asked: how often it was asked.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.asked = 0
        self.private: dict[str, tuple[str, Any]] = {}
        self._released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        super().__init__(self._http)

    def __exit__(self, *_: object) -> None:
        self._released.set()
        super().__exit__()

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"http://127.0.0.1:{self._http.server_port}/jwks"

    @property
    def settings(self) -> dict[str, Any]:
        """Of a gateway that believes this issuer."""
        return {"jwt_issuer": NAME, "jwt_audience": AUDIENCE, "jwt_jwks": self.url}

    def add(self, algorithm: str = "ES256", key_id: str = "") -> str:
        """A new key of this issuer; its id."""
        key_id = key_id or uuid.uuid4().hex
        self.private[key_id] = (algorithm, _MAKERS[algorithm]())
        return key_id

    def public(self, key_id: str) -> dict[str, Any]:
        """The public half of a key, as a JWK."""
        algorithm, key = self.private[key_id]
        return {**_FORMS[algorithm].to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"}

    def document(self) -> dict[str, Any]:
        """The key set."""
        return {"keys": [self.public(key_id) for key_id in self.private]}

    def token(self, key_id: str, head: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token, by default for the project `acme`. A claim of None is left out."""
        algorithm, key = self.private[key_id]
        fields = {name: value for name, value in {"kid": key_id, **(head or {})}.items() if value is not None}
        return jwt.encode(given(claims), key, algorithm, headers=fields)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                fault = issuer.fault if self.path == "/jwks" else ""
                if fault == "slow":
                    issuer._released.wait(60)
                body = json.dumps(issuer.document()).encode()
                body = {"garbage": b'{"keys": [', "huge": b" " * (1 << 20) + body}.get(fault, body)
                self.send_response({"down": 503, "elsewhere": 302}.get(fault, 200))
                self.send_header("Location", f"{issuer.url}-of-another")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):  # the gateway may have read enough
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def given(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token that opens the project `acme`, with changes; None takes one away."""
    usual = {
        "iss": NAME,
        "aud": AUDIENCE,
        "sub": "ana",
        "exp": time.time() + 600,
        "jti": uuid.uuid4().hex,
        "emendo_project": "acme",
        "scope": "openid emendo:write",
    }
    return {name: value for name, value in {**usual, **claims}.items() if value is not None}


def by_hand(head: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token that no library would make."""
    parts = [json.dumps(head).encode(), json.dumps(given(claims)).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
