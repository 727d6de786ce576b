"""The health check of the image, against a registry that serves, one with TLS, and none."""

import subprocess
import sys

from tests.conftest import EntrepotFactory
from tests.servers import ROOT, Certificate, free_port


def exit_code(**environment: str) -> int:
    command = [sys.executable, str(ROOT / "deploy" / "healthcheck.py")]
    return subprocess.run(command, env=environment, check=False).returncode


def test_it_asks_the_registry_of_the_environment(entrepot_server: EntrepotFactory, certificate: Certificate) -> None:
    plain, secure = entrepot_server(), entrepot_server(certificate=certificate)
    assert exit_code(ENTREPOT_LISTEN=f"0.0.0.0:{plain.port}", http_proxy="http://127.0.0.1:9") == 0
    assert exit_code(ENTREPOT_LISTEN=f"0.0.0.0:{secure.port}", ENTREPOT_TLS_CERT="server.pem") == 0
    assert exit_code(ENTREPOT_LISTEN=f"0.0.0.0:{secure.port}") == 1
    assert exit_code(ENTREPOT_LISTEN=f"127.0.0.1:{free_port()}") == 1
