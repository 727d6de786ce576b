"""Exit 0 when the registry of this container answers `/healthz`, else 1: the image's health check."""

import os
import ssl
import sys
from urllib.request import HTTPSHandler, ProxyHandler, build_opener


def is_healthy(environment: dict[str, str]) -> bool:
    """Return whether the registry answers at the port that the environment names; its certificate does not matter here."""
    port = environment.get("ENTREPOT_LISTEN", "127.0.0.1:5080").rpartition(":")[2]
    scheme = "https" if environment.get("ENTREPOT_TLS_CERT") else "http"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    try:
        with opener.open(f"{scheme}://127.0.0.1:{port}/healthz", timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(dict(os.environ)) else 1)
