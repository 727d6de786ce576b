"""The one table of settings: environment variables `ENTREPOT_…`; docs/settings.md documents each, a test compares."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsError

from catalog.locations import Locations
from catalog.parsed_text import checked, text_of_path
from catalog.path_patterns import PathPattern, matches_any
from catalog.unit_fields import Seconds, Size
from catalog.units import parse_size
from oci.errors import SettingsInvalid
from oci.reference import is_name
from oci.remote.network.loopback import is_loopback

_HOST = re.compile(r"\*|(\*\.)?[\w.-]+")
_HOST_GLOB = re.compile(r"[\w.*?!\[\]-]+")
_OFFLOAD = re.compile(r"x-accel:((?:/[\w~-][\w.~-]*)+)", re.ASCII)
_Memory = Annotated[str, AfterValidator(checked(parse_size))]
"""A size, kept as its text."""


def _is_network(text: str, *, alone: bool) -> bool:
    """Return whether a text is an address or, unless it is to stand `alone`, a network."""
    try:
        return ip_network(text.strip("[]"), strict=False) is not None and not (alone and "/" in text)
    except ValueError:
        return False


class Settings(Locations):
    """Where this installation keeps its state, what it listens on, and how it talks to upstreams."""

    storage_redirect: bool = Field(
        default=True,
        description="Send clients that pull a blob to S3 by a signed URL; turn it off where they cannot reach it.",
    )
    listen: str = Field("127.0.0.1:5080", description="Address and port of the registry.")
    tls_cert: Path | None = Field(None, description="PEM file of the registry's certificate chain.")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key.")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of the authorities whose client certificates are taken as logins."
    )
    public_url: str = Field(
        "",
        description="URL by which clients reach the registry, where a proxy changes it. Default: as the request says, if it "
        "names one of `hosts` or of our own addresses.",
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names by which clients reach the registry, separated by commas, besides its addresses and those of its "
        "certificate; `*.example` is any one part, `*` any name.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses and networks, separated by commas, of proxies whose `Forwarded` and `X-Forwarded-…` headers hold.",
    )
    offload: str = Field(
        "",
        description="Let nginx send the bytes of blobs: `x-accel:/PATH` names its internal location over the storage folder. "
        "Only for requests from `trusted_proxies` that ask for it.",
    )
    auth: Literal["token", "basic"] = Field(
        "token",
        description="How clients log in: by the token service, or by HTTP Basic alone. Basic is taken in both.",
    )
    token_lifetime: Seconds = Field(300.0, ge=60, description="How long a bearer token is good; a minute at least.")
    pages: bool = Field(default=True, description="Show web pages at `/` to browsers.")
    session_lifetime: Seconds = Field(
        12 * 3600.0, ge=60, description="How long a login on the web pages lasts at most; a minute at least."
    )
    login_issuer: str = Field(
        "",
        description="URL of the OpenID Connect issuer by which people log in to the web pages. Needs `login_client_id` and "
        "`public_url`.",
    )
    login_client_id: str = Field(
        "", description="Client id of the registry at that issuer, and the audience of the trusts that name accounts."
    )
    login_client_secret: SecretStr | None = Field(None, description="Secret of that client, where it has one.")
    login_client_secret_file: Path | None = Field(None, description="File with that secret.")
    login_scopes: str = Field("openid email profile", description="Scopes that a login asks that issuer for.")
    new_repositories: Literal["public", "private"] = Field(
        "public", description="Who may pull what a push to a new name makes."
    )
    read_only: bool = Field(
        default=False, description="Refuse pushes, deletions and changes by the management API; pulls go on."
    )
    disk_reserve: Size = Field(
        -1,
        ge=-1,
        description="Space on the disks of blobs and catalogue that uploads leave free, so that deleting, `gc`, logins and pulls "
        "go on. -1: a twentieth of the disk, 1 GiB at most. 0: none.",
    )
    max_blob_size: Size = Field(0, ge=0, description="Size that a pushed blob may have. 0: no limit.")
    max_uploads: int = Field(0, ge=0, description="Upload sessions open at a time for one repository. 0: no limit.")
    request_rate: float = Field(
        0.0,
        ge=0,
        description="Requests a second of one user, or of one address without a login, per process. 0: no limit.",
    )
    access_log: Literal["off", "common", "json"] = Field(
        "off", description="Log each request to standard error: in the form of web servers, or as JSON."
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of the registry's log of events.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token that opens `/metrics`, and nothing else. Administrators need none."
    )
    metrics_public: bool = Field(default=False, description="Show `/metrics` to anybody.")
    allow_plain_http: bool = Field(
        default=False, description="Listen without TLS on an address other than loopback, credentials in the clear."
    )
    prefect_api_url: str = Field(
        "http://127.0.0.1:4200/api",
        description="Prefect's API. A loopback address is where `entrepot up` starts its own; set by name, commands "
        "hand it the record of their runs when it answers.",
    )
    prefect_timeout: Seconds = Field(
        60.0, gt=0, description="How long Prefect's server may be away before a command gives up its record there."
    )
    slot_timeout: Seconds = Field(
        3600.0, gt=0, description="How long a flow run waits for a free slot of an upstream's concurrency limit."
    )
    work_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Folders, separated by commas, below which flows of a worker read and write the files that their "
        "parameters name. Default: `HOME/work`. Commands are bound by their caller's rights alone.",
    )
    auth_file: Path | None = Field(
        None, description="An `auth.json` to read upstream logins from, before the usual places of podman and docker."
    )
    logins: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='Upstream logins as JSON: `{"registry.example": "user:password"}`; first choice.',
    )
    ca_file: Path | None = Field(
        None, description="PEM file of further certificate authorities to trust for upstreams."
    )
    proxy: str = Field("", description="Proxy URL for upstreams; default: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.")
    insecure_registries: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Upstream hosts, separated by commas, that may be spoken to in plain HTTP. Loopback always may."
    )
    internal_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts at loopback, private or link-local addresses that upstreams may redirect to, name as token service or "
        "upload address, and that subscriptions may reach: names, globs, addresses or networks, separated by commas.",
    )
    connect_timeout: Seconds = Field(10.0, gt=0, description="Time to reach an upstream.")
    read_timeout: Seconds = Field(60.0, gt=0, description="How long an upstream may be silent within an answer.")
    total_timeout: Seconds = Field(
        3600.0, gt=0, description="Time that one upstream request may take, retries included."
    )
    silence_timeout: Seconds = Field(
        120.0, gt=0, description="Time without a byte after which an upstream is given up, all tries together."
    )
    upstream_attempts: int = Field(5, ge=1, description="How often an upstream request is tried before it fails.")
    copy_concurrency: int = Field(
        8, ge=1, description="Transfers at a time within one copy. Twice as many tags are asked for at a time."
    )
    sparse_repositories: Annotated[tuple[PathPattern, ...], NoDecode] = Field(
        (),
        description="Repositories, as patterns separated by commas (`team/*`, `team/**`), that take manifests whose parts are "
        "not all there.",
    )
    misstated_sizes: Annotated[tuple[PathPattern, ...], NoDecode] = Field(
        (),
        description="Repositories, as patterns separated by commas, that take an index which misstates the size of a child; the "
        "child's digest is checked all the same.",
    )
    history_path: str = Field(
        "history",
        description="Reserved path of time travel: `history/12/team/app` is version 12 of `team/app`, "
        "`history/2026-11-01/team/app` what it was when that day ended. Empty: none.",
    )
    promotion_hook: str = Field(
        "",
        description="URL of a policy service that every promotion asks: it is sent the plan and allows or refuses it.",
    )
    promotion_hook_token: SecretStr | None = Field(
        None, description="Bearer token that the promotion hook is sent; no other hook is."
    )
    promotion_hook_timeout: Seconds = Field(
        30.0, gt=0, description="Time after which no answer of a hook is a refusal."
    )
    upload_expiry: Seconds = Field(86400.0, gt=0, description="Time after which an idle upload session is dropped.")
    lock_timeout: Seconds = Field(60.0, gt=0, description="Time to wait for the catalogue's write lock.")
    direct_commits: bool = Field(
        True, description="Small commits are written by a process of their own. False: DuckDB writes all."
    )
    duckdb_memory: _Memory = Field("1GB", description="Memory that DuckDB may use in one process.")
    duckdb_threads: int = Field(
        1, ge=1, description="Threads that DuckDB may use in one process; a commit is fastest with one."
    )
    snapshot_entries: int = Field(
        1_500_000,
        ge=1,
        description="Tags, manifests and blobs of versions kept in memory, some 300 bytes each; at least one version is.",
    )
    query_memory: _Memory = Field(
        "1GB", description="Memory that one question in SQL may take; what needs more spills."
    )
    query_spill: _Memory = Field("4GB", description="Disk space that one question may spill. 0: none.")
    query_folder: Path | None = Field(
        None,
        description="Folder where questions spill and answers are kept until sent. Default: the system's for such files.",
    )
    query_threads: int = Field(0, ge=0, description="Threads of one question. 0: one for each core.")
    query_timeout: Seconds = Field(60.0, gt=0, description="Time after which a question is stopped.")
    query_max_rows: int = Field(100_000, ge=1, description="Rows that an answer may have.")
    query_max_size: Size = Field(256 * 1024 * 1024, ge=1, description="Size that an answer may have.")
    query_concurrency: int = Field(2, ge=1, description="Questions at a time that one serving process answers.")
    manifest_cache: Size = Field(64 * 1024 * 1024, ge=0, description="Manifests kept in memory, by size.")
    signing_key: Annotated[str, BeforeValidator(text_of_path)] | None = Field(
        None, description="Key that signs where a flow names none: a file, or the URI of a signer."
    )
    signing_password: SecretStr | None = Field(
        None, description="Password of the signing key, or PIN of its token. Default: COSIGN_PASSWORD."
    )
    signers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("pkcs11:*", "awskms:*", "azurekms:*", "gcpkms:*", "hashivault:*", "gnupg:*", "gpg:*"),
        description="Signers besides key files that flows of a worker may name, separated by commas; `*` is any text. `exec:` is "
        "never named from afar.",
    )
    signer_timeout: Seconds = Field(
        30.0,
        gt=0,
        le=600,
        description="Time after which a key service, a token or a command that does not sign has failed.",
    )
    pkcs11_module: Path | None = Field(
        None, description="PKCS #11 library of the tokens that sign. Default: COSIGN_PKCS11_MODULE_PATH."
    )
    sigstore_trust_config: Path | None = Field(
        None, description="Client trust configuration of a private sigstore. Default: the public one."
    )
    identity_token_file: Path | None = Field(
        None,
        description="File with the OIDC token that signs without a key. Default: SIGSTORE_ID_TOKEN, or the CI's own.",
    )
    max_staleness: Seconds = Field(
        0.0,
        ge=0,
        description="With PostgreSQL: how long a registry may answer from memory before it asks whether others have committed. "
        "0: it asks for each tag; what is found by digest needs no question.",
    )
    pulls_flush_seconds: Seconds = Field(
        30.0,
        gt=0,
        description="Time after which counted pulls are written; a process that is killed loses those of one.",
    )
    server_processes: int = Field(1, ge=1, description="Processes that serve the registry.")

    @field_validator(
        "insecure_registries",
        "internal_hosts",
        "sparse_repositories",
        "hosts",
        "trusted_proxies",
        "work_roots",
        "misstated_sizes",
        "signers",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(f"expected addresses or networks such as 10.0.0.0/8: {error}") from None
        return texts

    @field_validator("offload")
    @classmethod
    def _check_offload(cls, text: str, info: ValidationInfo) -> str:
        if not text:
            return text
        if not _OFFLOAD.fullmatch(text):
            raise ValueError("expected x-accel:/PATH, such as x-accel:/blobs")
        if str(info.data.get("storage", "")).startswith("s3://"):
            raise ValueError("nginx has no files of blobs in S3; expected none there: clients get signed URLs of S3")
        if info.data.get("trusted_proxies") == ():
            raise ValueError("expected nginx's address in ENTREPOT_TRUSTED_PROXIES; only its requests are offloaded")
        return text

    @field_validator("hosts", "internal_hosts")
    @classmethod
    def _check_host_names(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for text in texts:
            form = _HOST if info.field_name == "hosts" else _HOST_GLOB
            if not (form.fullmatch(text) or _is_network(text, alone=info.field_name == "hosts")):
                raise ValueError(f"{text!r} names no host; expected names or addresses, without scheme, port or path")
        return texts

    @field_validator("work_roots")
    @classmethod
    def _check_folders(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        for root in roots:
            if not root.expanduser().is_absolute():
                raise ValueError(f"{str(root)!r} depends on where a process was started; expected absolute folders")
        return roots

    @field_validator("history_path")
    @classmethod
    def _check_history(cls, path: str) -> str:
        if path and not is_name(path):
            raise ValueError("expected a path such as history, or nothing")
        return path

    def is_sparse(self, repository: str) -> bool:
        """Return whether a repository takes manifests whose parts are not all there."""
        return matches_any(self.sparse_repositories, repository)

    def may_misstate(self, repository: str) -> bool:
        """Return whether a repository takes indexes that misstate the size of a child."""
        return matches_any(self.misstated_sizes, repository)

    @cached_property
    def allowed_roots(self) -> tuple[Path, ...]:
        """`work_roots` as absolute paths, or their default."""
        return tuple(root.expanduser().absolute() for root in self.work_roots) or (self.root / "work",)

    @cached_property
    def prefect_login_file(self) -> Path:
        """The login of the Prefect server that `entrepot up` starts, readable by the owner alone."""
        return self.root / "prefect-login"

    @property
    def offload_path(self) -> str:
        """The path of nginx's internal location over the storage folder; empty without one."""
        return self.offload.removeprefix("x-accel:")

    @cached_property
    def listen_address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        host, colon, port = self.listen.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise SettingsInvalid(f"ENTREPOT_LISTEN is {self.listen!r}; expected host:port, such as 127.0.0.1:5080")
        return host.strip("[]"), int(port)


def check_address(settings: Settings) -> None:
    """Raise SettingsInvalid when the registry would listen beyond this machine with passwords in the clear."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsInvalid("TLS needs both ENTREPOT_TLS_CERT and ENTREPOT_TLS_KEY (--tls-cert and --tls-key)")
    host, _port = settings.listen_address
    if settings.tls_cert is None and not settings.allow_plain_http and not is_loopback(host):
        raise SettingsInvalid(
            f"refusing to listen on {host} without TLS, passwords would travel in the clear; give --tls-cert and --tls-key, "
            "or ask for it by name: ENTREPOT_ALLOW_PLAIN_HTTP=1 or --allow-plain-http (behind a proxy that ends TLS)"
        )


def mistyped_settings(names: Iterable[str]) -> list[str]:
    """Return a warning for each variable of the environment that is no setting but nearly one.

    Others are left alone: they may be of the tools around, such as those that Kubernetes sets for each service.
    """
    prefix, known = "ENTREPOT_", [name.upper() for name in Settings.model_fields]
    found: list[str] = []
    for name in sorted(names):
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and rest.upper() not in known:
            near = get_close_matches(rest.upper(), known, n=1, cutoff=0.8)
            found += [f"{name} is no setting and counts for nothing; did you mean {prefix}{one}?" for one in near]
    return found


def read_settings(**changes: object) -> Settings:
    """Read the environment, with `changes` (those not None) before it; raise SettingsInvalid that names the setting."""
    try:
        return Settings(**{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"ENTREPOT_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False)
        )
        raise SettingsInvalid(f"settings cannot be used: {faults}") from None
    except SettingsError as error:
        raise SettingsInvalid(f"settings cannot be used: {error}") from None
