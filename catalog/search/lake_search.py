"""Search without the index: one query over the rows of the lake, which takes the longer the more there are."""

import json
from collections.abc import Iterable

from catalog.lake.connection import Lake
from catalog.lake.nested_values import MAX_NUMBER, as_nested
from catalog.lake.reading import listed
from catalog.search.terms import SearchHit, SearchScope, SearchTerm
from oci.digest import Digest

_WITHIN = """
WITH within AS (
    SELECT unnest(string_split($names, ' ')) AS repository, unnest(string_split($versions, ' '))::BIGINT AS upto
)"""
_SUMMED = f"""{_WITHIN}
SELECT repository, kind, coalesce(tag, ''), digest, '' FROM records JOIN within USING (repository)
WHERE version <= upto AND {{where}} GROUP BY repository, kind, tag, digest
HAVING sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) > 0 ORDER BY {{order}} repository, kind DESC, tag LIMIT $limit"""
"""Rows that remove something name it as those that added it do: what is held is their sum, in one look at the rows."""
_LABELLED = f"""{_WITHIN}, hits AS (
    SELECT records.* FROM records JOIN within USING (repository) WHERE version <= upto AND {{where}})
SELECT repository, kind, '', digest, {{value}} FROM hits WHERE NOT EXISTS (
    SELECT 1 FROM records gone JOIN within USING (repository) WHERE gone.repository = hits.repository
        AND gone.kind = 'manifest' AND gone.digest = hits.digest AND gone.action = 'remove'
        AND gone.version > hits.version AND gone.version <= upto)
ORDER BY repository, digest LIMIT $limit"""
"""Rows that remove a manifest have no labels."""
_MAPS = f"map_concat({as_nested('records', 'labels')}, {as_nested('records', 'annotations')})"
_SQL = {
    "text": _SUMMED.format(where="kind = 'tag' AND contains(lower(tag), $text)", order="tag <> $text,"),
    "digest": _SUMMED.format(where="kind IN ('tag', 'manifest', 'blob') AND starts_with(digest[8:], $text)", order=""),
    # What the text holds is looked at before it is read as JSON, which takes longer.
    "label": _LABELLED.format(
        where="kind = 'manifest' AND action = 'add' AND (labels_json IS NULL OR contains(labels_json, $raw) AND "
        "contains(lower(labels_json), $raw_text) OR contains(annotations_json, $raw) AND "
        f"contains(lower(annotations_json), $raw_text)) AND {_MAPS}[$key] IS NOT NULL "
        f"AND contains(lower({_MAPS}[$key]), $text)",
        value=f"coalesce({_MAPS.replace('records', 'hits')}[$key], '')",
    ),
}


def search_content(lake: Lake, term: SearchTerm, within: Iterable[SearchScope], *, limit: int) -> list[SearchHit]:
    """Return what a term finds that versions of some repositories hold; one query. The lake knows no packages."""
    places = list(within)
    if not places or not (term.text or term.key) or term.kind == "package":
        return []
    names = listed(place.repository for place in places)
    versions = listed(str(MAX_NUMBER if place.version is None else place.version) for place in places)
    parameters: dict[str, object] = {"names": names, "versions": versions, "text": term.text.lower(), "limit": limit}
    if term.kind == "label":
        parameters |= {"key": term.key, "raw": _as_json(term.key), "raw_text": _as_json(term.text).lower()}
    return [
        SearchHit(str(repository), str(kind), str(tag), Digest(str(digest)), str(value))
        for repository, kind, tag, digest, value in lake.read(_SQL[term.kind], parameters)
    ]


def _as_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
