"""Where logins come from: those given, then the files of podman and docker. Source: containers-auth.json(5)."""

import base64
import binascii
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oci.errors import RemoteUnauthorized
from oci.reference import DOCKER_HUB, DOCKER_HUB_NAME

_HUB_KEYS = (DOCKER_HUB_NAME, "https://index.docker.io/v1/", "index.docker.io")
_HELPER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Credential:
    """A login; with `identity_token` it is a refresh token for the token service. Never shown."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def login_files(environ: Mapping[str, str], *, first: Path | None = None, uid: int = 0) -> tuple[Path, ...]:
    """Return the files to look into, in order, whether or not they exist."""
    home = Path(environ.get("HOME", "/nonexistent"))
    runtime = environ.get("XDG_RUNTIME_DIR", f"/run/user/{uid}")
    files = [first] if first else []
    if environ.get("REGISTRY_AUTH_FILE"):
        files.append(Path(environ["REGISTRY_AUTH_FILE"]))
    files.append(Path(runtime) / "containers" / "auth.json")
    if uid == 0:
        files.append(Path("/run/containers/0/auth.json"))
    files.append(Path(environ.get("XDG_CONFIG_HOME", home / ".config")) / "containers" / "auth.json")
    files.append(Path(environ.get("DOCKER_CONFIG", home / ".docker")) / "config.json")
    return tuple(files)


class Keychain:
    """Finds the login for a repository; files are read at each look, so that a new login counts at once."""

    def __init__(self, logins: Mapping[str, Credential] | None = None, files: tuple[Path, ...] = ()) -> None:
        self._logins, self._files = dict(logins or {}), files

    def find(self, host: str, repository: str = "") -> Credential | None:
        """Return the login for host[:port]/repository: the longest matching key of the first source that has one.

        Raises RemoteUnauthorized, naming the file, when a file cannot be read or a credential helper fails.
        """
        keys = tuple(_keys(host, repository))
        for key in keys:
            if key in self._logins:
                return self._logins[key]
        for file in self._files:
            found = _look_into(file, host, keys)
            if found:
                return found
        return None

    def has_any(self, host: str, prefix: str = "") -> bool:
        """Return whether there is a login for host[:port]/prefix, or below it; raise RemoteUnauthorized as `find` does."""
        if self.find(host, prefix) is not None:
            return True
        names = (host, DOCKER_HUB_NAME) if host == DOCKER_HUB else (host,)
        starts = tuple(f"{name}/{prefix}/" if prefix else f"{name}/" for name in names)
        keys = [*self._logins, *(key for file in self._files for key in _keys_of(file))]
        return any(key.removeprefix("https://").removeprefix("http://").startswith(starts) for key in keys)


def _keys_of(file: Path) -> Iterator[str]:
    """Yield the keys of logins in a file."""
    try:
        document = json.loads(file.read_text())
        yield from document.get("auths") or {}
        yield from document.get("credHelpers") or {}
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RemoteUnauthorized(f"logins cannot be read from {file}: {type(error).__name__}") from None


def _keys(host: str, repository: str) -> Iterator[str]:
    """Keys a file may hold the login under, the most exact first."""
    parts = repository.split("/") if repository else []
    names = (host, DOCKER_HUB_NAME) if host == DOCKER_HUB else (host,)
    for count in range(len(parts), 0, -1):
        yield from ("/".join([name, *parts[:count]]) for name in names)
    yield host
    if host == DOCKER_HUB:
        yield from _HUB_KEYS
    for scheme in ("https://", "http://"):
        yield f"{scheme}{host}"
        yield f"{scheme}{host}/v1/"
        yield f"{scheme}{host}/v2/"


def _look_into(file: Path, host: str, keys: tuple[str, ...]) -> Credential | None:
    try:
        document = json.loads(file.read_text())
        auths, helpers = document.get("auths") or {}, document.get("credHelpers") or {}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise RemoteUnauthorized(f"logins cannot be read from {file}: {type(error).__name__}") from None
    for key in keys:
        if key in helpers:
            return _ask_helper(str(helpers[key]), key, file)
        entry = auths.get(key)
        if entry and (found := _read_entry(entry, file)):
            return found
    store = document.get("credsStore")
    if not store:
        return None
    return next((found for key in (host, *_HUB_KEYS) if key in keys and (found := _ask_helper(store, key, file))), None)


def _read_entry(entry: Mapping[str, str], file: Path) -> Credential | None:
    token = entry.get("identitytoken", "")
    if not entry.get("auth"):
        if entry.get("username"):
            return Credential(entry["username"], entry.get("password", ""), token)
        return Credential("", "", token) if token else None
    try:
        username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise RemoteUnauthorized(f"{file} holds a login that is not base64 of user:password") from None
    return Credential(username, password.rstrip("\0"), token)


def _ask_helper(helper: str, key: str, file: Path) -> Credential | None:
    """Run `docker-credential-HELPER get`. Source: docker-credential-helpers protocol."""
    command = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # noqa: S603  # the user's own file names the helper
            [command, "get"], input=key, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise RemoteUnauthorized(f"{command}, which {file} asks for, failed: {type(error).__name__}") from None
    if done.returncode != 0:
        if "not found" in (done.stdout + done.stderr).lower():
            return None
        raise RemoteUnauthorized(f"{command}, which {file} asks for, failed with exit code {done.returncode}")
    if answer.get("Username") == "<token>":
        return Credential("", "", str(answer.get("Secret", "")))
    return Credential(str(answer.get("Username", "")), str(answer.get("Secret", "")))
