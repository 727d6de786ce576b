"""`entrepot tag`: what a version's tags point to."""

from typing import Annotated

import typer

from cli import completion
from cli.catalog import ask_catalog
from cli.options import Home, Json, new_group
from cli.output import print_json, print_table, time_text

Versioned = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@N]", help="A repository's name, or a version.", autocompletion=completion.versions_of
    ),
]
group = new_group("List the tags of a version.")


@group.command("list")
def list_tags(
    reference: Versioned,
    *,
    version: Annotated[int | None, typer.Option("--version", help="A version; default: the latest.", min=0)] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List a version's tags in order, with their pulls.

    `NAME@N` is version N.
    Pulls are those of the tag, and by digest of what it points to.

    Example: entrepot tag list team/app
    """
    from catalog.pull_counts import sum_pulls
    from oci.errors import InvalidInput
    from oci.reference import parse_version_reference

    named = parse_version_reference(reference)
    name = named.repository
    if None not in (version, named.version) and version != named.version:
        raise InvalidInput(f"{reference} and --version {version} are two versions; give one of them")
    version = named.version if version is None else version
    snapshot, counts = ask_catalog(home, lambda reader: (reader.tagged(name, version), reader.pulls(name)))
    pulls = sum_pulls(counts)
    pulled = {tag: pulls.of_tag(tag, digest) for tag, digest in snapshot.tags.items()}
    found = [(tag, snapshot.tags[tag], snapshot.manifests[snapshot.tags[tag]]) for tag in snapshot.sorted_tags]
    if as_json:
        tags = [
            {
                "tag": tag,
                "digest": digest,
                "media_type": entry.media_type,
                "artifact_type": entry.artifact_type,
                "size": entry.size,
                "pulls": count.pulls if (count := pulled[tag]) else 0,
                "last_pulled_at": count.last_pulled_at if count else None,
            }
            for tag, digest, entry in found
        ]
        print_json({"repository": name, "version": snapshot.version, "tags": tags})
        return
    print_table(
        ("TAG", "DIGEST", "MEDIA TYPE", "PULLS", "LAST PULLED"),
        [
            (
                tag,
                digest,
                entry.media_type,
                count.pulls if (count := pulled[tag]) else 0,
                time_text(count.last_pulled_at) if count else "never",
            )
            for tag, digest, entry in found
        ],
    )
