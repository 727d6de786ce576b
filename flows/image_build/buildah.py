"""buildah, wrapped: one build from a Containerfile into an OCI image layout, in a storage of our own."""

import json
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sh

from oci.errors import LocalError, RequestError

LAST_LINES = 15
_ID_FILE = "iid"
_STEP = re.compile(r'at STEP "(?P<step>.*?)"(?::|$)', re.DOTALL)


class BuildFailed(RequestError):
    """A build ended with an error; the message has the step and the last lines of output."""


class BuilderMissing(LocalError):
    """There is no buildah."""


@dataclass(frozen=True, slots=True)
class Build:
    """What to build: `target` is a stage of a multi-stage file, empty for the last; `isolation` is buildah's."""

    context: Path
    containerfile: Path
    arguments: Mapping[str, str]
    target: str = ""
    platform: str = ""
    isolation: str = "chroot"


class Buildah:
    """Runs buildah with storage, policy and registries below `folder`; hosts in `insecure` are spoken to by plain HTTP."""

    def __init__(self, folder: Path, *, insecure: Sequence[str], on_line: Callable[[str], None]) -> None:
        binary = shutil.which("buildah")
        if binary is None:
            raise BuilderMissing(
                "buildah is not installed on this machine: `apt-get install buildah` on Debian and Ubuntu"
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        registries = ['unqualified-search-registries = ["docker.io"]']
        registries += [f"[[registry]]\nlocation = {json.dumps(host)}\ninsecure = true" for host in insecure]
        (folder / "registries.conf").write_text("\n".join(registries) + "\n")
        (folder / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{folder / "graph"}"\nrunroot = "{folder / "run"}"\n'
        (folder / "storage.conf").write_text(storage)
        self._env = {
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "TMPDIR": str(folder),
        }
        self._policy, self._on_line = folder / "policy.json", on_line
        self._command = sh.Command(binary)

    def build(self, build: Build, layout: Path, scratch: Path) -> None:
        """Build, and write the image into a new layout as `built`; raise BuildFailed. `remove` takes it out of the storage."""
        iid = scratch / _ID_FILE
        options = [
            "--isolation",
            build.isolation,
            "--format",
            "oci",
            "--iidfile",
            str(iid),
            "--no-cache",
            "--pull-always",
        ]
        options += ["--signature-policy", str(self._policy), "--file", str(build.containerfile)]
        options += [f"--build-arg={name}={value}" for name, value in build.arguments.items()]
        options += ["--target", build.target] if build.target else []
        options += ["--platform", build.platform] if build.platform else []
        self._run(build, "build", *options, str(build.context))
        image = iid.read_text().strip()
        self._run(build, "push", "--signature-policy", str(self._policy), image, f"oci:{layout}:built")

    def remove(self, build: Build, scratch: Path) -> None:
        """Take what was built out of the storage, if something was; only base images stay."""
        iid = scratch / _ID_FILE
        if iid.exists():
            self._run(build, "rmi", "--force", iid.read_text().strip())

    def _run(self, build: Build, *arguments: str) -> None:
        last: deque[str] = deque(maxlen=LAST_LINES)

        def take(line: str) -> None:
            last.append(line.rstrip("\n"))
            self._on_line(line.rstrip("\n"))

        try:
            self._command(*arguments, _env={**os.environ, **self._env}, _out=take, _err=take)
        except sh.ErrorReturnCode as error:
            raise BuildFailed(explain(build.containerfile, list(last), error.exit_code)) from None


def explain(containerfile: Path, last: Sequence[str], code: int) -> str:
    """Say which line of the Containerfile failed, as far as buildah says so, and what came last."""
    text = "\n".join(last)
    found = _STEP.search(text)
    where = f"{containerfile}"
    if found:
        step = found["step"].replace('\\"', '"')
        number = line_of(containerfile.read_text(errors="replace"), step)
        where += f", line {number}" if number else ""
        where += f": {step}"
    return f"the build ended with exit code {code} at {where}\n" + "\n".join(f"  {line}" for line in last)


def line_of(containerfile: str, step: str) -> int | None:
    """The line at which an instruction begins, compared without regard to blanks and continuations."""
    wanted = " ".join(step.split()).casefold()
    lines = containerfile.splitlines()
    for number, line in enumerate(lines):
        joined, following = line, number
        while joined.rstrip().endswith("\\") and following + 1 < len(lines):
            following += 1
            joined = joined.rstrip()[:-1] + " " + lines[following]
        if " ".join(joined.split()).casefold() == wanted:
            return number + 1
    return None
