"""Faults of a file against the model: all in one go, each at its line, none repeating what may be a secret."""

import subprocess
import sys

from cli.configuration.document import parse_document_text
from cli.configuration.model import configuration_schema, deployments_of, read_entries
from tests.servers import ROOT

TEXT = """\
remots: {}
remotes:
  docker.io: {polcy: on_demand}
  ghcr.io: {headers: {X-Key: hunter2hunter2}}
  quay.io:
users:
  alice: {password: hunter2hunter2}
  ci: {robot: true, password: env:A}
quotas:
  team/**: {bytes: 5XB}
caches:
  hub: {}
deployments:
  nightly: {flow: sync-many, request: {remotes: [registry.example/a], newst: 1}}
  other: {flow: sync-mny}
  cron: {flow: collect-garbage, schedules: [{cron: "99 3"}]}
  both: {flow: collect-garbage, schedules: [{cron: "1 3 * * *", every: 1h}]}
  short: {flow: collect-garbage, schedules: [{every: 5s}]}
"""


def test_every_fault_is_told_with_its_line_and_no_secret() -> None:
    entries, faults = read_entries(parse_document_text(TEXT.encode(), "f"))
    shown = [fault.show("f") for fault in sorted(faults)]
    assert [line.split(":")[1] for line in shown] == ["1", "3", "4", "7", "8", "10", "12", "14", "15", "16", "17", "18"]
    assert "hunter2" not in "".join(shown)
    assert shown[0] == "f:1:1: remots: unknown key; did you mean `remotes`?"
    assert shown[1] == "f:3:15: remotes.docker.io.polcy: unknown key; did you mean `policy`?"
    assert shown[2].endswith("expected a reference, env:NAME or file:/PATH, and never the secret itself")
    assert shown[6] == "f:12:3: caches.hub: the key `remote` is missing; add it"
    assert shown[7].startswith("f:14:71: deployments.nightly.request.newst: unknown key")
    assert "expected one of 'sync-repository'" in shown[8]
    assert "invalid cron" in shown[9]
    assert list(entries.remotes) == ["quay.io"]  # what is right is still there to be checked
    assert deployments_of(entries) == {}


def test_reading_a_file_imports_no_prefect() -> None:
    """Prefect reads where its server is when it is imported: what comes before that would be asked elsewhere."""
    code = (
        "import sys; from cli.configuration.document import parse_document_text as parse\n"
        "from cli.configuration.model import read_entries; from cli.configuration.desired_entries import desired_entries_of\n"
        "text = b'deployments: {a: {flow: collect-garbage, schedules: [{cron: 1 2 * * *}]}}'\n"
        "entries, faults = read_entries(parse(text, 'f')); assert not faults and list(desired_entries_of(entries))\n"
        "assert 'prefect' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_file_that_is_no_mapping_is_told_so() -> None:
    _, (fault,) = read_entries(parse_document_text(b"- 1\n", "f"))
    assert "expected keys such as" in fault.text


def test_sections_without_entries_are_empty() -> None:
    entries, faults = read_entries(
        parse_document_text(b"users:\nrepositories:\ndeployments:\ngroups: {nobody: }\n", "f")
    )
    assert faults == []
    assert entries.groups == {"nobody": ()}


def test_deployments_that_are_no_mapping_are_told() -> None:
    _, faults = read_entries(parse_document_text(b"deployments: [1]\nrepositories: {a: 1}\nversion: 2\n", "f"))
    assert sorted(fault.line for fault in faults) == [1, 2, 3]


def test_ways_to_write_the_same_are_equal() -> None:
    rule = "access: {a: {subjects: %s, actions: %s, paths: %s}}\ncaches: {hub: {remote: docker.io, freshness: %s}}"
    text = rule % ("users", "[push, pull]", "'team/**'", "60m")
    other = rule % ("[users]", "[pull, push]", "['team/**']", "1h")
    read = [read_entries(parse_document_text(one.encode(), "f")) for one in (text, other)]
    assert read[0] == read[1]
    assert read[0][1] == []


def test_the_schema_holds_the_form_of_each_flow() -> None:
    schema = configuration_schema()
    sync = schema["$defs"]["SyncManyDeployment"]
    assert sync["properties"]["flow"]["const"] == "sync-many"
    assert "remotes" in schema["$defs"]["SyncManyRequest"]["properties"]
    assert schema["additionalProperties"] is False
