"""Logins by others: identity tokens of an issuer over HTTP with real keys, and client certificates over real TLS."""

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from catalog.access.administration import Administration
from catalog.access.policy import Trust, parse_grant
from catalog.access.store import AccessStore
from catalog.catalog import open_catalog
from catalog.settings import read_settings
from registry_api.auth.oidc_tokens import IDENTITY_USER
from tests.api.conftest import Api, codes, serve, simple_manifest
from tests.conftest import EntrepotFactory
from tests.issuer import AUDIENCE, Issuer
from tests.servers import Certificate, wait_until

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def api(tmp_path: Path, issuer: Issuer) -> Iterator[Api]:
    """A registry where main-branch jobs of acme are the robot `deployer`, which may push below team/."""
    with serve(tmp_path / "entrepot") as running:
        settings = running.catalog.settings
        desk = Administration(
            AccessStore(settings, running.catalog.state),
            running.catalog.events,
            actor="test",
            now=lambda: datetime.now(UTC),
        )
        desk.add_account("deployer", password=None)
        desk.add_rule(["robot:deployer"], parse_grant("pull,push:team/**"))
        desk.add_trust(
            Trust(
                name="acme",
                issuer=issuer.url,
                audience=AUDIENCE,
                claims={"repository_owner": "acme", "ref": "refs/heads/*"},
                account="deployer",
                grants=(parse_grant("pull,push:team/app"),),
            )
        )
        yield running


def exchange(api: Api, token: str, scope: str = "repository:team/app:pull,push") -> httpx.Response:
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN, "scope": scope}
    return api.anybody.post("/token", data=form)


def test_an_identity_token_is_exchanged_for_a_scoped_one(api: Api, issuer: Issuer) -> None:
    answer = exchange(api, issuer.token(), "repository:team/app:pull,push repository:team/other:push")
    assert answer.status_code == 200, answer.text
    assert answer.json()["scope"] == "repository:team/app:pull,push"
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert api.anybody.post("/v2/team/app/blobs/uploads/", headers=headers).status_code == 202
    assert api.anybody.post("/v2/team/other/blobs/uploads/", headers=headers).status_code == 401


def test_an_identity_token_is_a_password_too(api: Api, issuer: Issuer) -> None:
    """So that `podman login -u oidc` does for clients that know no exchange."""
    with api.client(auth=("oidc", issuer.token())) as client:
        answer = client.get("/token", params={"scope": "repository:team/app:push", "service": "entrepot"})
        assert answer.json()["scope"] == "repository:team/app:push"
        assert client.post("/v2/team/app/blobs/uploads/").status_code == 202
        assert client.post("/v2/team/other/blobs/uploads/").status_code == 401


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ({"repository_owner": "mallory"}, "repository_owner"),
        ({"ref": "refs/tags/v1"}, "ref"),
        ({"aud": "elsewhere"}, "udience"),
        ({"exp": datetime(2020, 1, 1, tzinfo=UTC)}, "expired"),
        ({"iss": "https://other.example"}, "issuer"),
        ({"repository_owner": None}, "repository_owner"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_why(api: Api, issuer: Issuer, flaw: dict[str, Any], said: str) -> None:
    answer = exchange(api, issuer.token(**flaw))
    assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
    assert said in answer.text


def sign_by_secret(claims: dict[str, object], secret: bytes) -> str:
    """What a library that confuses kinds of keys would take: the public key as the secret of an HMAC."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "one"}, claims))
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), 'sha256'))}"


def test_a_forged_token_is_refused(api: Api, issuer: Issuer) -> None:
    good = issuer.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    other = rsa.generate_private_key(65537, 2048)
    public = (
        issuer.keys["one"]
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    forged = (
        jwt.encode(claims, other, "RS256", headers={"kid": "one"}),
        sign_by_secret(claims, public),
        jwt.encode(claims, "", "none", headers={"kid": "one"}),
        jwt.encode(claims, other, "RS256", headers={"kid": "unheard of"}),
        "no token at all",
    )
    for token in forged:
        assert exchange(api, token).status_code == 401


def test_the_issuer_s_keys_are_asked_for_once_and_again_for_a_new_one(api: Api, issuer: Issuer) -> None:
    for _ in range(5):
        assert exchange(api, issuer.token()).status_code == 200
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    issuer.fails = True
    assert exchange(api, issuer.token()).status_code == 200
    assert len(issuer.asked) == 2


def test_an_issuer_that_fails_is_a_503(api: Api, issuer: Issuer) -> None:
    issuer.fails = True
    answers = [exchange(api, issuer.token()).status_code for _ in range(3)]
    assert answers == [503, 503, 503]
    assert len(issuer.asked) == 1


def test_an_identity_token_gives_no_refresh_token(api: Api, issuer: Issuer) -> None:
    """It would outlive the identity token by months."""
    form = {"grant_type": EXCHANGE, "subject_token": issuer.token(), "subject_token_type": ID_TOKEN}
    made = api.anybody.post("/token", data={**form, "access_type": "offline"}).json()
    assert "access_token" in made
    assert "refresh_token" not in made
    login = httpx.BasicAuth(IDENTITY_USER, issuer.token())
    shown = api.anybody.get("/token", params={"offline_token": "true"}, auth=login).json()
    assert "refresh_token" not in shown


def test_tokens_end_with_the_trust_that_they_came_by(api: Api, issuer: Issuer) -> None:
    form = {"grant_type": EXCHANGE, "subject_token": issuer.token(), "subject_token_type": ID_TOKEN}
    made = api.anybody.post("/token", data={**form, "scope": "repository:team/app:push"}).json()

    def begin() -> int:
        headers = {"Authorization": f"Bearer {made['access_token']}"}
        return api.anybody.post("/v2/team/app/blobs/uploads/", headers=headers).status_code

    assert begin() == 202
    desk = Administration(
        AccessStore(api.catalog.settings, api.catalog.state),
        api.catalog.events,
        actor="test",
        now=lambda: datetime.now(UTC),
    )
    desk.remove_trust("acme")
    wait_until(lambda: begin() == 401, 10, "the token has ended")


def test_a_disabled_account_lets_no_token_in(api: Api, issuer: Issuer) -> None:
    desk = Administration(
        AccessStore(api.catalog.settings, api.catalog.state),
        api.catalog.events,
        actor="test",
        now=lambda: datetime.now(UTC),
    )
    desk.change_account("deployer", disabled=True)
    assert exchange(api, issuer.token()).status_code == 401


# --- client certificates ---


def make_client(folder: Path, name: str) -> tuple[Path, Path]:
    """An authority's certificate, and a client's certificate and key in one file."""
    folder.mkdir()
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client authority")])
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    now = datetime.now(UTC)

    def builder(of: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(of).issuer_name(authority).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        return made.not_valid_after(now + timedelta(days=1))

    ca = builder(authority, keys[0]).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    leaf = builder(subject, keys[1]).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    key = keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "client.pem").write_bytes(leaf.sign(keys[0], hashes.SHA256()).public_bytes(pem) + key)
    return folder / "ca.pem", folder / "client.pem"


def test_a_client_certificate_logs_in_as_the_account_it_is_mapped_to(
    entrepot_server: EntrepotFactory, certificate: Certificate, tmp_path: Path
) -> None:
    import ssl

    ca, bob = make_client(tmp_path / "clients", "bob")
    _, stranger = make_client(tmp_path / "strangers", "bob")
    server = entrepot_server(certificate=certificate, env={"ENTREPOT_TLS_CLIENT_CA": str(ca)})
    with open_catalog(read_settings(home=server.home)) as catalog:
        desk = Administration(
            AccessStore(catalog.settings, catalog.state), catalog.events, actor="test", now=lambda: datetime.now(UTC)
        )
        desk.add_account("bob", password=None, certificate="CN=bob,O=Acme")
        desk.add_rule(["robot:bob"], parse_grant("push:team/**"))

    def client(file: Path | None) -> httpx.Client:
        context = ssl.create_default_context(cafile=certificate.ca_file)
        if file:
            context.load_cert_chain(file)
        return httpx.Client(base_url=server.url, verify=context, trust_env=False)

    with client(bob) as known, client(None) as nobody, client(stranger) as unknown:
        assert known.get("/v2/").status_code == 200
        assert known.post("/v2/team/app/blobs/uploads/").status_code == 202
        assert known.post("/v2/other/app/blobs/uploads/").status_code == 403
        assert nobody.get("/v2/").status_code == 401
        with pytest.raises(httpx.TransportError):
            unknown.get("/v2/")


def test_the_management_api_takes_the_same_logins(api: Api, issuer: Issuer) -> None:
    api.put_manifest("team/app", "v1", simple_manifest(api, "team/app"))
    with api.client(auth=("oidc", issuer.token())) as client:
        assert [one["tag"] for one in client.get("/api/v1/tags/team/app").json()] == ["v1"]
        assert client.get("/api/v1/users").status_code == 403
