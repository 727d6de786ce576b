"""`entrepot tag`: what a version's tags point to."""

from typing import Annotated

import typer

from cli.catalog import opened
from cli.options import Home, Json, Repository, new_group
from cli.output import print_json, print_table, time_text

group = new_group("List the tags of a version.")


@group.command("list")
def list_tags(
    name: Repository,
    *,
    version: Annotated[int | None, typer.Option("--version", help="A version; default: the latest.", min=0)] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List a version's tags in order, with their pulls.

    Pulls are those of the tag, and by digest of what it points to.

    Example: entrepot tag list team/app
    """
    from catalog.pull_counts import sum_pulls

    with opened(home) as catalog:
        snapshot = catalog.snapshots.get(name, version)
        pulls = sum_pulls(catalog.pulls.read_one(name))
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
