"""Whoever pastes the commands of a page: a folder, a home, a shell, and `entrepot up` in another terminal."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.readme.commands import Shown
from tests.servers import Child, Children, answers, free_port

AT_A_TIME = 3
SERVE = "entrepot serve"
# What a command calls, or needs a server of, besides the program that it names.
NEEDED = {"entrepot build ": "buildah", "ENTREPOT_STORAGE=s3:": "versitygw"}
# What it sets holds for the commands that follow, as in a shell.
EXPORT = re.compile(r"export ([A-Z_]+)=(\S+)")
# Its flush drops tables that a long question of another process may still read.
ALONE = "entrepot maintain"


@dataclass(frozen=True)
class Ended:
    """What came of one command; `missing` names a program that this machine lacks."""

    code: int = 0
    output: str = ""
    missing: str = ""


@dataclass
class Reader:
    """Runs commands in the order of the page, each once, and the rows of one table side by side."""

    folder: Path
    children: Children
    env: Mapping[str, str]
    commands: list[Shown]
    ended: dict[Shown, Ended] = field(default_factory=dict)

    def result(self, wanted: Shown) -> Ended:
        """Return what came of a command; it is run first, with all of the stages up to its own, if that was not done."""
        stages = groupby((one for one in self.commands if one.stage <= wanted.stage), key=lambda one: one.stage)
        for _, stage in stages:
            if pending := [one for one in stage if one not in self.ended]:
                self._run_stage(pending)
        return self.ended[wanted]

    def try_one(self, command: Shown) -> Ended:
        """Return what comes of a command that is none of the page's."""
        return self._run(command)

    def _run_stage(self, commands: Iterable[Shown]) -> None:
        groups = [list(group) for _, group in groupby(commands, key=lambda one: one.group)]
        alone = [group for group in groups if any(one.text == ALONE for one in group)]
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for ended in pool.map(self._run_group, [group for group in groups if group not in alone]):
                self.ended.update(ended)
        for group in alone:
            self.ended.update(self._run_group(group))

    def _run_group(self, commands: Iterable[Shown]) -> dict[Shown, Ended]:
        return {one: self._run(one) for one in commands}

    def _run(self, command: Shown) -> Ended:
        if setting := EXPORT.fullmatch(command.text):
            self.env = {**self.env, setting[1]: setting[2]}
            return Ended()
        for program in self._programs_of(command):
            if shutil.which(program, path=self.env["PATH"]) is None:
                return Ended(missing=program)
        if command.text.endswith(SERVE):
            return self._serve(command)
        done = subprocess.run(
            ["bash", "-c", command.text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.env},
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout)

    def _programs_of(self, command: Shown) -> Iterator[str]:
        yield command.program
        yield from (program for start, program in NEEDED.items() if command.text.startswith(start))

    def start(self, text: str, *, name: str, **env: str) -> Child:
        """Start a command that runs until Ctrl-C; by `exec env` the signal is for the command itself."""
        script = f"exec env {text}"
        return self.children.start(name, ["bash", "-c", script], env={**self.env, **env}, cwd=self.folder)

    def _serve(self, command: Shown) -> Ended:
        """Start a registry beside the one of `entrepot up`: at a port and in a home of its own."""
        listen, name = f"127.0.0.1:{free_port()}", f"serve-{command.line}"
        home = self.folder / name
        child = self.start(command.text, name=name, ENTREPOT_LISTEN=listen, ENTREPOT_HOME=str(home))
        child.wait_ready(lambda: answers(f"http://{listen}/readyz"), seconds=90)
        child.signal(signal.SIGINT)
        return Ended(child.wait(30), child.output())
