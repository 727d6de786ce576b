"""Finds the commands that a page shows: in its shell blocks, and in the last column of its tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

PROGRAMS = frozenset(
    {"cat", "entrepot", "export", "flatpak", "gpg", "helm", "make", "mkdir", "openssl", "oras", "podman", "printf"}
)
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_HEREDOC = re.compile(r"<<'?(\w+)'?$")
"""Ends the first line of a command whose input is shown below it."""


@dataclass(frozen=True)
class Shown:
    """One command of a page.

    `stage` counts blocks and tables: each needs those before it. `group` counts blocks and rows: the commands of one follow
    each other, and the rows of one table do not need each other.
    """

    stage: int
    group: int
    line: int
    text: str

    @property
    def program(self) -> str:
        """Return the first word behind assignments of variables."""
        return program_of(self.text)


def _without_remark(line: str) -> str:
    return re.sub(r"\s+# .*", "", line)


def program_of(code: str) -> str:
    """Return the first word of a command behind assignments of variables; empty where there is none."""
    return next((word for word in code.split() if not _ASSIGNMENT.match(word)), "")


def find_commands(page: str) -> list[Shown]:
    """Return all commands of a Markdown page in order, each with its further lines: continued ones joined, input as it is."""
    return [shown for shown in _walk(page) if shown.program in PROGRAMS]


def find_others(page: str) -> list[str]:
    """Return the code of several words in command columns that begins with no known program."""
    spans = [span for line in page.splitlines() if line.startswith("|") for span in _spans(_last_cell(line))]
    return [span for span in spans if " " in span and program_of(span) not in PROGRAMS]


def _walk(page: str) -> Iterator[Shown]:
    fence, held, stage, group, in_table = "", "", 0, 0, False
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            fence, stage, group = ("" if fence else line.strip("` ") or "text"), stage + 1, group + 1
        elif fence and (mark := _HEREDOC.search(held.partition("\n")[0])):
            held += f"\n{line}"
            if line == mark[1]:
                yield Shown(stage, group, number, held)
                held = ""
        elif fence:
            held += _without_remark(_typed(fence, line)).removesuffix("\\")
            if not line.endswith("\\") and not _HEREDOC.search(held):
                yield Shown(stage, group, number, held.strip())
                held = ""
        elif line.startswith("|"):
            stage, group = stage if in_table else stage + 1, group + 1
            yield from (Shown(stage, group, number, span) for span in _spans(_last_cell(line)))
        in_table = line.startswith("|")


def _typed(fence: str, line: str) -> str:
    """Return what is typed of a block's line: all of it in a script, what follows the prompt in a console."""
    if fence == "console":
        return line.removeprefix("$ ") if line.startswith("$ ") else ""
    return line if fence in {"bash", "sh"} else ""


def _last_cell(row: str) -> str:
    return re.split(r"(?<!\\)\|", row.strip().removesuffix("|"))[-1]


def _spans(cell: str) -> list[str]:
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", cell)]
