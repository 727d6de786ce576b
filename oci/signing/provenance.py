"""Where a built image comes from, as a SLSA provenance predicate. Source: slsa.dev/spec/v1.0/provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:entrepot:build:buildah:v1"
BUILDER = "urn:entrepot:builder:buildah"


@dataclass(frozen=True, slots=True)
class Material:
    """Something that went into a build."""

    uri: str
    digest: Mapping[str, str]


def make_provenance(
    *,
    parameters: Mapping[str, object],
    materials: Sequence[Material],
    run_id: str,
    started: str,
    finished: str,
) -> dict[str, object]:
    """Return the predicate; times are RFC 3339 in UTC."""
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": dict(parameters),
            "internalParameters": {},
            "resolvedDependencies": [{"uri": one.uri, "digest": dict(one.digest)} for one in materials],
        },
        "runDetails": {
            "builder": {"id": BUILDER},
            "metadata": {"invocationId": run_id, "startedOn": started, "finishedOn": finished},
        },
    }
