"""Where a home's Prefect is, and the login of the server that we start: a file of mode 0600 in the home."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.running_instance import find_running
from catalog.settings import Settings
from catalog.state.private_file import write_private
from oci.errors import CatalogUnusable

_USER = "entrepot"


@dataclass(frozen=True, slots=True)
class PrefectAddress:
    """A Prefect API. `login` is `user:password` for a server of ours; empty for others, whose login the environment has."""

    url: str
    login: str = field(default="", repr=False)

    def headers(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return how Prefect's own clients log in: our server's login, else PREFECT_API_KEY or PREFECT_API_AUTH_STRING."""
        if not self.login and (key := environment.get("PREFECT_API_KEY")):
            return {"Authorization": f"Bearer {key}"}
        if login := self.login or environment.get("PREFECT_API_AUTH_STRING"):
            return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        return {}


def make_login() -> str:
    """A new login, `user:password`: Prefect compares the whole of it."""
    return f"{_USER}:{secrets.token_urlsafe(32)}"


def ensure_login(settings: Settings) -> str:
    """Return the login of this home's Prefect server; the first start makes it."""
    if found := read_login(settings):
        return found
    settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = make_login()
    write_private(settings.prefect_login_file, made + "\n")
    return made


def read_login(settings: Settings) -> str:
    """The login of this home's Prefect server, empty before its first start; raise CatalogUnusable for a broken file."""
    file = settings.prefect_login_file
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        raise CatalogUnusable(f"{file} cannot be read: {error}") from None
    user, colon, password = text.partition(":")
    if not (colon and user and password and text.isascii() and text.isprintable()):
        raise CatalogUnusable(
            f"{file} holds no login: expected user:password; remove it, and `entrepot up` makes another"
        )
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)
    return text


def known_addresses(settings: Settings) -> list[PrefectAddress]:
    """The Prefect APIs that this home may use, the best first: its own running one, then the one that was set.

    The default of ENTREPOT_PREFECT_API_URL is where our server listens, and none to look for: another home's, or anybody's,
    may listen there. A login is given to no server but the one that this home has started.
    """
    found = []
    running = find_running(settings)
    if running and running.prefect_api_url:
        login = read_login(settings) if running.prefect_is_ours else ""
        found.append(PrefectAddress(running.prefect_api_url.rstrip("/"), login))
    if "prefect_api_url" in settings.model_fields_set:
        url = settings.prefect_api_url.rstrip("/")
        found += [PrefectAddress(url)] if url not in {known.url for known in found} else []
    return found
