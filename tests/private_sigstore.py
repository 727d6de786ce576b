"""A private sigstore: a certificate authority, its transparency log and a signature log, small but with real cryptography.

What is signed with it must satisfy the client's every check; a check that fails shows that a client looks. Source: Fulcio's
API v2, RFC 6962 section 3.2 (precertificate timestamps), Rekor's API v1, C2SP signed notes.
"""

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.timestamp_authority import TimestampAuthority

ISSUER = "https://issuer.example"
_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_TIMESTAMPS_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


def identity_token(subject: str, *, audience: str = "sigstore", minutes: int = 10) -> str:
    """An OIDC token as an issuer gives it; its signature is the certificate authority's business, and ours does not look."""
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": ISSUER, "sub": subject, "aud": audience, "iat": now, "exp": now + minutes * 60}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)] + [b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


class PrivateSigstore:
    """Runs on a loopback port; a context manager. `trust_config` is what clients are given.

    `rekor` is the version of the log's API. Entries of version 2 have no time, so that a timestamp authority is there too.
    """

    def __init__(self, *, rekor: int = 1) -> None:
        self._rekor = rekor
        self.released = threading.Event()
        self.hanging = ""
        """The path that is answered once `released` is set."""
        self.authority = TimestampAuthority() if rekor == 2 else None
        self._ca, self._certificates_log, self._log = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self._root = self._make_root()
        self.requests: list[str] = []
        self.log_ahead = timedelta()  # how far the log's clock is ahead
        handler: Callable[..., BaseHTTPRequestHandler] = lambda *args: _Handler(self, *args)  # noqa: E731
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self.authority:
            self.authority.close()

    def forget_certificates_log(self) -> None:
        """Have certificates promised by a log that clients do not know who have their configuration already."""
        self._certificates_log = ec.generate_private_key(ec.SECP256R1())

    def change_authority(self) -> None:
        """Have timestamps made by an authority that clients do not know who have their configuration already."""
        if self.authority:
            self.authority.close()
        self.authority = TimestampAuthority()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def trust_config(self) -> str:
        """The client trust configuration, as JSON."""
        since = {"start": "2020-01-01T00:00:00Z"}
        root = base64.b64encode(self._root.public_bytes(serialization.Encoding.DER)).decode()
        service = {"url": self.url, "validFor": since, "operator": "test"}
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": {
                    "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                    "tlogs": [self._instance(self._log)],
                    "certificateAuthorities": [
                        {
                            "subject": {"organization": "test", "commonName": "test"},
                            "uri": self.url,
                            "certChain": {"certificates": [{"rawBytes": root}]},
                            "validFor": since,
                        }
                    ],
                    "ctlogs": [self._instance(self._certificates_log)],
                    "timestampAuthorities": self._authorities(since),
                },
                "signingConfig": {
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "caUrls": [{**service, "majorApiVersion": 1}],
                    "rekorTlogUrls": [{**service, "majorApiVersion": self._rekor}],
                    "rekorTlogConfig": {"selector": "ANY"},
                    **self._authority_services(service),
                },
            }
        )

    def _authority_services(self, service: Mapping[str, object]) -> dict[str, object]:
        if self.authority is None:
            return {}
        urls = [{**service, "url": f"{self.url}/timestamp", "majorApiVersion": 1}]
        return {"tsaUrls": urls, "tsaConfig": {"selector": "ANY"}}

    def _authorities(self, since: dict[str, str]) -> list[dict[str, object]]:
        if self.authority is None:
            return []
        chain = {"certificates": [{"rawBytes": one} for one in self.authority.chain]}
        subject = {"organization": "test", "commonName": "tsa root"}
        return [{"subject": subject, "uri": f"{self.url}/timestamp", "certChain": chain, "validFor": since}]

    def _instance(self, key: ec.EllipticCurvePrivateKey) -> dict[str, object]:
        der = _der(key)
        details = {"rawBytes": base64.b64encode(der).decode(), "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        return {
            "baseUrl": self.url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {**details, "validFor": {"start": "2020-01-01T00:00:00Z"}},
            "logId": {"keyId": base64.b64encode(hashlib.sha256(der).digest()).decode()},
        }

    # --- the certificate authority ---

    def _make_root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")])
        now = datetime.now(UTC)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._ca.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._ca.public_key()), critical=False)
            .sign(self._ca, hashes.SHA256())
        )

    def issue(self, csr: x509.CertificateSigningRequest, subject: str) -> list[str]:
        """A certificate for ten minutes, with a timestamp of the certificates' log in it; and the root. PEM."""
        now = datetime.now(UTC).replace(microsecond=0)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        issuer = bytes([0x0C, len(ISSUER)]) + ISSUER.encode()  # UTF8String
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._root.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(minutes=10))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(subject)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_OID, issuer), critical=False)
        )
        before = builder.sign(self._ca, hashes.SHA256()).tbs_certificate_bytes
        timestamps = x509.UnrecognizedExtension(_TIMESTAMPS_OID, self._timestamp(before, now))
        leaf = builder.add_extension(timestamps, critical=False).sign(self._ca, hashes.SHA256())
        return [one.public_bytes(serialization.Encoding.PEM).decode() for one in (leaf, self._root)]

    def _timestamp(self, certificate: bytes, now: datetime) -> bytes:
        """A list of one signed certificate timestamp, as the value of its extension."""
        milliseconds = int(now.timestamp() * 1000)
        issuer = hashlib.sha256(_der(self._ca)).digest()
        entry = issuer + len(certificate).to_bytes(3, "big") + certificate
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0"
        signature = _sign(self._certificates_log, signed)
        log = hashlib.sha256(_der(self._certificates_log)).digest()
        one = struct.pack("!B32sQH", 0, log, milliseconds, 0) + struct.pack("!BBH", 4, 3, len(signature)) + signature
        listed = struct.pack("!H", len(one)) + one
        value = struct.pack("!H", len(listed)) + listed
        length = bytes([0x81, len(value)]) if len(value) > 127 else bytes([len(value)])
        return b"\x04" + length + value

    # --- the signatures' log ---

    def record(self, proposed: dict[str, Any]) -> dict[str, object]:
        """Take a DSSE envelope into a log of one entry, and promise and prove that it is there."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"])
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(content["envelope"].encode()).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [
                {"signature": one["sig"], "verifier": verifier}
                for one, verifier in zip(envelope["signatures"], content["verifiers"], strict=True)
            ],
        }
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})  # type: ignore[dict-item]  # all of it is JSON
        log = hashlib.sha256(_der(self._log)).digest()
        entry: dict[str, str | int] = {
            "body": base64.b64encode(body).decode(),
            "integratedTime": int((datetime.now(UTC) + self.log_ahead).timestamp()),
            "logID": log.hex(),
            "logIndex": 0,
        }
        root, checkpoint = self._checkpoint(body)
        verification = {
            "signedEntryTimestamp": base64.b64encode(_sign(self._log, rfc8785.dumps(dict(entry)))).decode(),
            "inclusionProof": {
                "checkpoint": checkpoint,
                "hashes": [],
                "logIndex": 0,
                "rootHash": root.hex(),
                "treeSize": 1,
            },
        }
        return {"0" * 64: {**entry, "verification": verification}}

    def record_v2(self, proposed: dict[str, Any]) -> dict[str, object]:
        """Take the hash of an envelope's encoding into a log of one entry, as version 2 has it: with a proof, and no promise."""
        asked = proposed["hashedRekordRequestV002"]
        spec = {"data": {"algorithm": "SHA2_256", "digest": asked["digest"]}, "signature": asked["signature"]}
        document: dict[str, Any] = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": spec}}
        body = rfc8785.dumps(document)
        root, checkpoint = self._checkpoint(body)
        return {
            "logIndex": "0",
            "logId": {"keyId": base64.b64encode(hashlib.sha256(_der(self._log)).digest()).decode()},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": base64.b64encode(root).decode(),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": checkpoint},
            },
            "canonicalizedBody": base64.b64encode(body).decode(),
        }

    def _checkpoint(self, body: bytes) -> tuple[bytes, str]:
        """The root of the log whose one entry is `body`, and the log's signed note of it."""
        root, log = hashlib.sha256(b"\0" + body).digest(), hashlib.sha256(_der(self._log)).digest()
        note = f"127.0.0.1 - 1\n1\n{base64.b64encode(root).decode()}\n"
        signature = base64.b64encode(log[:4] + _sign(self._log, note.encode())).decode()
        return root, f"{note}\n— 127.0.0.1 {signature}\n"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, sigstore: PrivateSigstore, *args: Any) -> None:
        self._sigstore = sigstore
        super().__init__(*args)

    def do_POST(self) -> None:
        if self.path == self._sigstore.hanging:
            self._sigstore.released.wait(20)
        raw = self.rfile.read(int(self.headers["content-length"]))
        self._sigstore.requests.append(self.path)
        if self.path == "/timestamp" and self._sigstore.authority:
            self._send(201, self._sigstore.authority.respond(raw), "application/timestamp-reply")
            return
        body = json.loads(raw)
        if self.path == "/api/v2/signingCert":
            token = self.headers["authorization"].removeprefix("Bearer ").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            csr = x509.load_pem_x509_csr(base64.b64decode(body["certificateSigningRequest"]))
            certificates = self._sigstore.issue(csr, claims["sub"])
            self._answer(200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": certificates}}})
        elif self.path == "/api/v1/log/entries":
            self._answer(201, self._sigstore.record(body))
        elif self.path == "/api/v2/log/entries":
            self._answer(201, self._sigstore.record_v2(body))
        else:
            self._answer(404, {"message": f"nothing at {self.path}"})

    def _answer(self, status: int, document: object) -> None:
        self._send(status, json.dumps(document).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""
