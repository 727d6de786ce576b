"""The documentation is true: tables equal the code, commands, options, targets, settings and links exist."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it carries no types
from packaging.requirements import Requirement
from typer.core import TyperGroup

from catalog.settings import Settings
from cli.configuration.document import read_config_file
from cli.configuration.model import read_entries
from scripts.docs import GENERATED, WRITTEN, commands, replace_tables
from tests.servers import ROOT
from tests.test_imports import ARROWS

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Built from pieces, so that this file may be looked at too.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w./-])/(work|root|home/\w+)/",
    "the address of a package index": r"pypi"
    + r"\.org|python"
    + r"hosted\.org|deb\.deb"
    + r"ian\.org|proxy\.go"
    + r"lang",
    "a tool of one workplace": r"\bissues (show|list|file)\b|\bfarm" + r"-\w+|contract" + r"\.md",
}
NOT_SETTINGS = {"ENTREPOT_REQUIRE_TOOLS"}


@dataclass(frozen=True)
class Command:
    """A command line as a page shows it."""

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {' '.join(self.words)}"


def shown_commands(page: str, text: str) -> Iterator[Command]:
    """Every `entrepot …` and `make …` in shell blocks and inline code; variables before and pipes after it dropped."""
    fence, held = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = "" if fence else line.strip("` ") or "text"
            continue
        if fence in {"bash", "sh", "console"}:
            held += line.removesuffix("\\")
            if not line.endswith("\\"):
                yield from _commands(page, number, held.removeprefix("$ "))
                held = ""
        elif not fence:
            for code in re.findall(r"`([^`]+)`", line):
                yield from _commands(page, number, code)


def _commands(page: str, number: int, code: str) -> Iterator[Command]:
    try:
        words = shlex.split(code, comments=True)
    except ValueError:
        return
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if not words or Path(words[0]).name not in {"entrepot", "make"}:
        return
    end = next(
        (place for place, word in enumerate(words) if word in {"|", "<", ">", "&&", ";", "&"} or word[:2] == "<<"),
        len(words),
    )
    yield Command(page, number, (Path(words[0]).name, *words[1:end]))


def all_commands(program: str) -> list[Command]:
    found = (command for path in PAGES for command in shown_commands(str(path.relative_to(ROOT)), path.read_text()))
    return [command for command in found if command.words[0] == program]


def tracked_files() -> list[Path]:
    """Files of the project; without git, whatever is not ignored by name."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", ".tools", ".git", "__pycache__", "results"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.parts)]


@pytest.mark.parametrize("page", GENERATED)
def test_generated_tables_equal_the_code(page: str) -> None:
    text = (ROOT / page).read_text()
    assert replace_tables(text, GENERATED[page]) == text, f"{page} is not what the code says: run `make docs`"


@pytest.mark.parametrize("name", WRITTEN)
def test_generated_files_equal_the_code(name: str) -> None:
    assert (ROOT / name).read_text() == WRITTEN[name](), f"{name} is not what the code says: run `make docs`"


def test_the_example_of_a_configuration_fits_its_model_and_its_schema() -> None:
    entries, faults = read_entries(read_config_file(ROOT / "docs" / "entrepot.yaml"))
    assert faults == []
    assert [name for name in type(entries).model_fields if not getattr(entries, name)] == []  # every section is shown
    document = yaml.safe_load((ROOT / "docs" / "entrepot.yaml").read_text())
    Draft202012Validator(json.loads((ROOT / "docs" / "entrepot.schema.json").read_text())).validate(document)


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_every_setting_that_is_mentioned_exists() -> None:
    known = {f"ENTREPOT_{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    mentioned = {(page.name, name) for page in PAGES for name in re.findall(r"\bENTREPOT_[A-Z_]+\b", page.read_text())}
    assert {(page, name) for page, name in mentioned if name not in known} == set()


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = all_commands("make")
    assert commands
    wrong = [
        str(command)
        for command in commands
        for word in command.words[1:]
        if "=" not in word and not word.startswith("-") and word not in targets
    ]
    assert wrong == []


# Not the past, nor the usage lines that scripts/docs.py writes from the commands themselves.
USED = [shown for shown in all_commands("entrepot") if shown.page not in {"CHANGELOG.md", "docs/cli.md"}]


@pytest.mark.parametrize("shown", USED, ids=str)
def test_every_entrepot_command_that_is_shown_is_one(shown: Command) -> None:
    known, words = commands(), shown.words
    name = next(words[:count] for count in range(len(words), 0, -1) if words[:count] in known)
    given = list(words[len(name) :])
    if isinstance(known[name], TyperGroup):
        assert {*given} <= {"…", "--help", "--version", "--debug"}, f"{shown}: no such command"
    elif given and "…" not in given:  # without arguments, the command is only named
        known[name].make_context(name[-1], given)


def test_relative_links_resolve() -> None:
    broken = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_path_of_the_project_that_is_named_exists() -> None:
    rooms = "|".join([*ARROWS, "scripts", "tests", "docs", "deploy"])
    path = re.compile(rf"`((?:{rooms})/[^\s`<]*(?:/|\.(?:py|sql|md|yaml|conf)))`")
    named = {
        (page.name, found)
        for page in PAGES
        if page.name != "CHANGELOG.md" and page.parent.name != "adr"  # these tell of the past
        for found in path.findall(page.read_text())
    }
    assert named
    assert {(page, found) for page, found in named if not (ROOT / found).exists()} == set()


def test_every_name_of_the_code_that_is_mentioned_is_defined() -> None:
    walks = (ROOT / "docs" / "architecture.md").read_text().partition("<!-- end: tree -->")[2]
    text = walks + (ROOT / "docs" / "security.md").read_text()
    names = {
        part
        for code in re.findall(r"`([A-Za-z_.]+)`", text)
        if re.search("[a-z]_|[a-z][A-Z]|[A-Z][a-z]+[.]", code) and not code.endswith((".py", "NaN"))
        for part in code.split(".")
    }
    files = (path.read_text() for room in ARROWS for path in (ROOT / room).rglob("*.py"))
    definition = re.compile(
        r"^ *(?:async )?(?:def|class) (\w+)|^ *(?:self\.)?(\w+)(?:: [^=\n]+)?(?: =|$)", re.MULTILINE
    )
    defined = {name for text in files for found in definition.findall(text) for name in found}
    assert len(names) > 50
    assert names - defined - {*ARROWS, "test_rights_property"} == set()


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings get."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_begins_with_the_two_commands() -> None:
    first = "\n".join((ROOT / "README.md").read_text().splitlines()[:12])
    assert first.index("make run") < first.index("make test")


def test_the_changelog_has_a_section_for_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    heads = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads
    assert heads[0] in {"Unreleased", version}


def test_every_decision_record_has_its_parts() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        heads = re.findall(r"^## (.+)$", record.read_text(), re.MULTILINE)
        assert heads == ["Context", "Options", "Decision", "What would change our mind"], record.name


def test_the_lock_has_hashes_no_address_and_what_the_project_asks_for() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    lines = re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", lock, re.MULTILINE)
    pinned = dict(lines)  # some have a line for each range of Pythons
    assert len(pinned) > 100
    assert len(re.findall(r"^[a-z0-9.-]+==.*\\\n    --hash=sha256:", lock, re.MULTILINE)) == len(lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["postgresql"], *extras["test"]]
    for text in [one for one in asked if not one.startswith(f"{project['name']}[")]:
        wanted = Requirement(text)
        assert wanted.name.lower() in pinned, f"{wanted.name} is not locked: run `make lock`"
        assert wanted.specifier.contains(pinned[wanted.name.lower()]), f"{text} is not what is locked: run `make lock`"


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_names(what: str) -> None:
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{n}: {line}"
            for n, line in enumerate(lines, 1)
            if re.search(FORBIDDEN[what], line)
        ]
    assert found == []


def test_shown_commands_are_found() -> None:
    text = (
        "Run `make check` or `entrepot serve`.\n```bash\n$ ENTREPOT_HOME=/tmp/x .venv/bin/entrepot sync a/b \\\n"
        "    --dry-run | less   # look first\n```\n```text\nentrepot not this\n```\n"
    )
    found = [command.words for command in shown_commands("page", text)]
    assert found == [("make", "check"), ("entrepot", "serve"), ("entrepot", "sync", "a/b", "--dry-run")]
