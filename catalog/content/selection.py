"""A filter applied to a version that is held here."""

from datetime import datetime

from catalog.catalog import Catalog
from catalog.filters.filter import Filter
from catalog.filters.tags import Selection
from catalog.versions.snapshot import Snapshot


def select_content(catalog: Catalog, snapshot: Snapshot, wanted: Filter, now: datetime) -> Selection:
    """Choose among a version's tags, and the manifests in it that the filter names by digest (these under their digests).

    One query where content decides, none else. `now` is what ages are counted from.
    """
    found = wanted.candidates(snapshot.sorted_tags)
    pointing = {tag: snapshot.tags[tag] for tag in found.kept}
    digests = [digest for digest in wanted.tags.digests if digest in snapshot.manifests]
    facts = catalog.history.facts(snapshot, {*pointing.values(), *digests}) if wanted.asks_content else {}
    tags = wanted.settle(found, {tag: facts[digest] for tag, digest in pointing.items() if digest in facts}, now)
    by_digest = Selection(dict.fromkeys(digests, "included by its digest"))
    named = wanted.of_named.settle(by_digest, {digest: facts[digest] for digest in digests if digest in facts}, now)
    return Selection({**tags.rules, **named.rules}, {**tags.dropped, **named.dropped})
