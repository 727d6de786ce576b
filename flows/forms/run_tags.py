"""Tags by which Prefect's UI finds flow runs: `repo:NAME` of a repository here, `upstream:HOST/NAME` of where content is from."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from oci.errors import EntrepotError
from oci.remote.address import parse_remote

MOST = 20
"""Tags of one kind: a run over more repositories is found by its name."""
_REPOSITORIES = ("repository", "repositories", "built")


def run_tags(request: Mapping[str, object]) -> tuple[str, ...]:
    """Return the tags of a flow run by the fields of its form, as JSON has them. Pure."""
    repositories, upstreams = [*_texts(request, _REPOSITORIES)], [*_texts(request, ("upstream",))]
    for remote in _texts(request, ("remote",)):
        with suppress(EntrepotError):
            place = parse_remote(remote).reference
            upstreams.append(f"{place.registry}/{place.repository}")
            if not repositories:  # a mirror has its upstream's name, unless another is given
                repositories.append(place.repository)
    pipeline = request.get("upstream")
    first = run_tags(pipeline) if isinstance(pipeline, Mapping) else ()
    return (*first, *(f"repo:{name}" for name in repositories), *(f"upstream:{name}" for name in upstreams))


def _texts(request: Mapping[str, object], fields: tuple[str, ...]) -> Iterator[str]:
    for field in fields:
        value = request.get(field)
        values = value if isinstance(value, list | tuple) else (value,)
        texts = [one for one in values if isinstance(one, str) and one]
        if len(texts) <= MOST:
            yield from texts
