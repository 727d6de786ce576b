"""Every command over a form and every form, both ways; and one text for the option, the form and the docs' row."""

import json
import subprocess
import sys

import pytest
from pydantic import BaseModel
from typer.core import TyperArgument, TyperOption

from cli.forms.command import FormCommand
from cli.forms.parameters import declarations, parameters_of
from flows.forms.parameters import Choice, Group, Option, SetBy, Switch
from scripts.docs import command_reference, commands
from tests.flows_by_reference import ALL_FLOWS

COMMANDS = {words[1:]: command for words, command in commands().items() if isinstance(command, FormCommand)}
REFERENCE = command_reference()
SPECIAL = {"home", "as_json", "explain", "listed"}
"""Parameters of commands that set no field: what each does is declared beside it."""
OF_UP = {"demo", "listen", "prefect_port", "demo_port", "tls_cert", "tls_key"}
OF_DISTRIBUTION = {
    *("path", "repository", "remote", "version", "latest", "private"),
    *("description", "labels", "immutable", "history_from"),
}
OWN = {
    ("up",): OF_UP,
    ("sync-many",): {"from_file"},
    ("watch",): {"fail_on", "forget"},
    ("distribution", "create"): OF_DISTRIBUTION,
    ("distribution", "set"): OF_DISTRIBUTION,
}


def form_of(words: tuple[str, ...]) -> type[BaseModel]:
    return COMMANDS[words].form_callback.form()


def leaves(form: type[BaseModel]) -> dict[tuple[str, ...], list[object]]:
    """Every field of a form, and of the forms within it, with its declarations."""
    found: dict[tuple[str, ...], list[object]] = {}
    for name, field in form.model_fields.items():
        if any(isinstance(one, Group) for one in declarations(field)):
            assert isinstance(field.annotation, type)
            found |= {(name, *path): made for path, made in leaves(field.annotation).items()}
        else:
            found[(name,)] = list(declarations(field))
    return found


def test_each_flow_with_a_form_has_one_command() -> None:
    forms = [form_of(words) for words in COMMANDS]
    assert [lazy.form().__name__ for lazy in ALL_FLOWS if forms.count(lazy.form()) != 1] == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_option_has_a_field_or_is_declared_special(words: tuple[str, ...]) -> None:
    offered = {one.name for one in parameters_of(form_of(words))}
    special = SPECIAL | OWN.get(words, set())
    assert {param.name for param in COMMANDS[words].params} - offered - special - {"help"} == set()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_field_has_an_option_or_is_set_by_one(words: tuple[str, ...]) -> None:
    params = {param.name: param for param in COMMANDS[words].params}
    offered = {one.path: params[one.name] for one in parameters_of(form_of(words))}
    names = {param.metavar for param in params.values()} | {flag for param in params.values() for flag in param.opts}
    for path, declared in leaves(form_of(words)).items():
        setters = [one.parameter for one in declared if isinstance(one, SetBy)]
        assert path in offered or set(setters) & {*names, "command", "page"}, f"{'.'.join(path)} has no option"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_docs_and_form_have_one_text(words: tuple[str, ...]) -> None:
    form = form_of(words)
    params = {param.name: param for param in COMMANDS[words].params}
    section = REFERENCE.partition(f"### `entrepot {' '.join(words)}`\n")[2].partition("\n### ")[0]
    for one in parameters_of(form):
        param = params[one.name]
        assert isinstance(param, TyperOption | TyperArgument)
        fields = form.model_fields
        for group in one.path[:-1]:
            inner = fields[group].annotation
            assert isinstance(inner, type)
            assert issubclass(inner, BaseModel)
            fields = inner.model_fields
        field = fields[one.path[-1]]
        texts = {made.help for made in declarations(field) if isinstance(made, Switch)} | {field.description}
        assert param.help in texts, f"{one.label}: {param.help}"
        assert (param.help or "").replace("|", "\\|") in section


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_texts_are_short_sentences(words: tuple[str, ...]) -> None:
    for one in parameters_of(form_of(words)):
        text = one.annotation.__metadata__[0].help
        assert text.endswith(".")
        assert max(len(sentence.split()) for sentence in text.split(". ")) <= 20, text


def test_no_two_parameters_of_a_command_share_a_flag() -> None:
    for command in COMMANDS.values():
        flags = [flag for param in command.params for flag in (*param.opts, *param.secondary_opts)]
        assert len(flags) == len(set(flags))


@pytest.mark.parametrize(("line", "form"), [("--help", set()), ("completion", {"pydantic", "pydantic_core"})])
def test_help_and_completion_import_little(line: str, form: set[str]) -> None:
    setup, run = "import atexit, os, sys\n", f"from cli.main import run\nrun({line.split()!r})\n"
    if line == "completion":  # it reads the options of the command that fits, which are a pydantic form
        setup += (
            "os.environ |= {'_ENTREPOT_COMPLETE': 'complete_bash', 'COMP_WORDS': 'entrepot sy', 'COMP_CWORD': '1'}\n"
        )
        run = "from cli.main import run\nrun([])\n"
    told = "atexit.register(lambda: print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr))\n"
    ended = subprocess.run([sys.executable, "-c", setup + told + run], capture_output=True, text=True, check=True)
    heavy = {"prefect", "pydantic", "pydantic_core", "pyarrow", "duckdb", "fastapi", "httpx", "boto3", "rich"}
    assert set(ended.stderr.split()) & heavy == form


HELP_OF_EACH = """
import json, os, sys
from cli.main import run
for words in json.loads(sys.argv[1]):
    if os.fork() == 0:
        code = None
        try:
            run([*words, '--help'])
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            loaded = [name for name in ('prefect', 'httpx', 'catalog.catalog') if name in sys.modules]
            print(json.dumps([words, code, loaded]), file=sys.stderr, flush=True)
            os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def helped() -> dict[tuple[str, ...], tuple[int | None, list[str]]]:
    """The exit code of each command's help, and the heavy modules it imports: each is forked from one that has `cli.main`."""
    command = [sys.executable, "-c", HELP_OF_EACH, json.dumps(list(COMMANDS))]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in ended.stderr.splitlines()]
    return {tuple(words): (code, loaded) for words, code, loaded in told}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_a_command_opens_no_catalogue_and_runs_no_flow(
    words: tuple[str, ...], helped: dict[tuple[str, ...], tuple[int | None, list[str]]]
) -> None:
    assert helped[words] == (0, [])


def test_declarations_fit_their_fields() -> None:
    for words in COMMANDS:
        for name, field in form_of(words).model_fields.items():
            for one in declarations(field):
                assert not isinstance(one, Choice) or field.default in (one.on, one.off), name
                is_pair = isinstance(one, Option) and "/" in one.flag
                assert not is_pair or field.annotation is bool, name
