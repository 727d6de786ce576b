"""A token of SoftHSM with a key of each kind, in a folder of its own."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers import tool
from tests.unit.oci.signing.signers.keys import NAMES, pem_of

PIN = "4711-of-a-test"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")


@dataclass(frozen=True)
class Token:
    """The library, and the configuration that it reads once for each process, by SOFTHSM2_CONF."""

    module: Path
    configuration: Path


def make_token(folder: Path) -> Token:
    """Make the token `release`."""
    util, configuration = tool("softhsm2-util"), folder / "conf"
    (folder / "tokens").mkdir()
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")

    def run(*arguments: str) -> None:
        subprocess.run([util, *arguments], check=True, capture_output=True, env={"SOFTHSM2_CONF": str(configuration)})

    run("--init-token", "--free", "--label", "release", "--so-pin", "1234", "--pin", PIN)
    for number, name in enumerate(NAMES, 1):
        (folder / name).write_bytes(pem_of(name))
        run("--import", str(folder / name), "--token", "release", "--label", name, "--id", f"0{number}", "--pin", PIN)
    return Token(next(Path(one) for one in _MODULES if Path(one).exists()), configuration)
