"""Where subscriptions that are made over HTTP may lead: to no internal network that the settings do not name."""

from urllib.parse import urlsplit

from catalog.settings import Settings
from oci.errors import InvalidInput, RemoteRefused
from oci.remote.network.reach import Reach


def reach_of(settings: Settings) -> Reach:
    """Return the rule of where subscriptions made over HTTP may lead."""
    return Reach("", settings.internal_hosts)


def check_receiver(url: str, settings: Settings) -> None:
    """Raise InvalidInput for a URL whose host is, by its text, within an internal network, unless the settings name it."""
    try:
        reach_of(settings).check_name(urlsplit(url).hostname or "")
    except RemoteRefused:
        raise InvalidInput(
            "the URL leads to an address of an internal network; name its host in ENTREPOT_INTERNAL_HOSTS, or make the "
            "subscription on the registry's machine by `entrepot subscription create`"
        ) from None
