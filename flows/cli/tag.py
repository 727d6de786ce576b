"""`entrepot tag`: what a version's tags point to."""

from typing import Annotated

import typer

from flows.cli.opening import opened
from flows.cli.options import Home, Json, Repository, new_group
from flows.cli.output import print_json, print_table

group = new_group("Tags: names of manifests in a version.")


@group.command("list")
def list_tags(
    name: Repository,
    *,
    version: Annotated[int | None, typer.Option("--version", help="A version; default: the latest.", min=0)] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List a version's tags in order."""
    with opened(home) as catalog:
        snapshot = catalog.snapshot(name, version)
    found = [(tag, snapshot.tags[tag], snapshot.manifests[snapshot.tags[tag]]) for tag in snapshot.sorted_tags]
    if as_json:
        tags = [
            {
                "tag": tag,
                "digest": digest,
                "media_type": entry.media_type,
                "artifact_type": entry.artifact_type,
                "size": entry.size,
            }
            for tag, digest, entry in found
        ]
        print_json({"repository": name, "version": snapshot.version, "tags": tags})
        return
    print_table(("TAG", "DIGEST", "MEDIA TYPE"), [(tag, digest, entry.media_type) for tag, digest, entry in found])
