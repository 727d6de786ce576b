"""An OpenID Connect issuer on a free loopback port: its keys, its tokens, logins by the code flow; counts what it is asked."""

import base64
import hashlib
import json
import secrets
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "registry.example"
CLIENT, SECRET = "entrepot pages", "s3cret+of/the client"


class Issuer:
    """An issuer with its keys by id. Who logs in there is `person`; `flaw` changes claims of the tokens it gives for codes."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"one": rsa.generate_private_key(65537, 2048)}
        self.asked: list[str] = []
        self.fails = False
        self.person: dict[str, object] = {"sub": "1", "email": "alice@example.org"}
        self.flaw: dict[str, object] = {}
        self.refusal = ""
        self.methods = ["client_secret_basic"]
        self.forms: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                issuer.asked.append(self.path)
                if self.path.startswith("/authorize?") and not issuer.fails:
                    self.send_response(302)
                    self.send_header("Location", issuer.authorize(self.path))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.answer(500 if issuer.fails else 200, issuer.answer(self.path))

            def do_POST(self) -> None:  # http.server's name
                issuer.asked.append(self.path)
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                form = {name: values[0] for name, values in parse_qs(raw.decode()).items()}
                status, document = issuer.exchange(form, self.headers.get("Authorization", ""))
                self.answer(500 if issuer.fails else status, document)

            def answer(self, status: int, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def answer(self, path: str) -> dict[str, object]:
        """The document at a path: the configuration, else the keys."""
        if path.endswith("openid-configuration"):
            return {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "token_endpoint_auth_methods_supported": self.methods,
            }
        keys = []
        for key_id, key in self.keys.items():
            algorithm = (
                jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
            )
            name = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
            keys.append({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "alg": name, "use": "sig"})
        return {"keys": keys}

    def token(self, key_id: str = "one", **claims: object) -> str:
        """An identity token as a CI system gets it."""
        now = datetime.now(UTC)
        given = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "repo:acme/app",
            "repository_owner": "acme",
            "ref": "refs/heads/main",
            "iat": now,
            "exp": now + timedelta(minutes=5),
            **claims,
        }
        key = self.keys[key_id]
        return jwt.encode(
            given, key, "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256", headers={"kid": key_id}
        )

    # --- the code flow ---

    def authorize(self, path: str) -> str:
        """Where a browser is sent back to, with a code for the person."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        answer = {"state": asked["state"]}
        if self.refusal:
            answer["error"] = self.refusal
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self._codes[answer["code"]] = asked
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, object]]:
        """Status and answer to a code: a token for who has its verifier, once. Source: RFC 6749, 4.1.3; RFC 7636, 4.6."""
        self.forms.append(form)
        if authorization:
            login = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            client, _, secret = login.partition(":")
            client, secret = unquote_plus(client), unquote_plus(secret)
        else:
            client, secret = form.get("client_id", ""), form.get("client_secret", "")
        if (client, secret) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or form.get("redirect_uri") != asked["redirect_uri"]
            or (asked["code_challenge_method"], asked["code_challenge"]) != ("S256", challenge)
        ):
            return 400, {"error": "invalid_grant"}
        claims: dict[str, Any] = {"aud": asked["client_id"], "nonce": asked["nonce"], **self.person, **self.flaw}
        return 200, {"access_token": "unused", "token_type": "Bearer", "id_token": self.token(**claims)}

    def close(self) -> None:
        """Stop."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
