"""The SBOMs of an image and the packages that they list, for whoever may pull it."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from catalog.content.documents import LIMIT_OF_REQUESTS
from catalog.content.sboms import find_layers, list_packages, list_sboms
from oci.digest import Digest
from registry_api.management.dependencies import FAILURES, Context, Count, ManagementRoute, RequestContext
from registry_api.management.sboms.pulled_images import PulledImage, find_pulled_image, find_refused

_MOST_SKIPPED = 10**6
ImageReference = Annotated[
    str, Query(max_length=700, description="PATH:TAG or PATH@DIGEST, as it is pulled; default tag: latest.")
]


class SbomOut(BaseModel):
    """An SBOM: the image that it is about, its manifest and the layer that holds it.

    `signer` is who an attestation claims to be signed by; nobody has verified it. `state`: read, absent (its bytes are not
    here), too-large or invalid.
    """

    image: str
    sbom: str
    document: str
    artifact_type: str
    size: int
    state: str
    format: str
    packages: int
    signer: str


class SbomsOut(BaseModel):
    """The SBOMs of an image, or of all images of an index; `is_cut`: there are more than are read."""

    digest: str
    sboms: list[SbomOut]
    is_cut: bool


class ImagePackageOut(BaseModel):
    """A package: `package` is its package URL without version and qualifiers, or its name where it has none."""

    package: str
    type: str
    namespace: str
    name: str
    version: str
    qualifiers: str
    licence: str


class ImagePackagesOut(SbomsOut):
    """The packages of an image, each once, from the first one asked for on; `total` counts all."""

    packages: list[ImagePackageOut]
    total: int = Field(description="Packages without `n` and `skip`.")


router = APIRouter(prefix="/api/v1", tags=["sboms"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/sboms", response_model=SbomsOut)
async def list_image_sboms(context: Context, reference: ImageReference) -> SbomsOut:
    """List the SBOMs that are attached to an image or an index that the caller may pull."""
    image = await find_pulled_image(context, reference)
    readable = await _find_readable(context, image)
    read = partial(list_sboms, limit=LIMIT_OF_REQUESTS, refused=readable.refused)
    found = await context.threads.make(read, context.catalog, image.snapshot, image.digest)
    sboms = [SbomOut.model_validate(one, from_attributes=True) for one in found]
    return SbomsOut(digest=image.digest, sboms=sboms, is_cut=readable.is_cut)


@router.get("/sboms/packages", response_model=ImagePackagesOut)
async def list_image_packages(
    context: Context,
    reference: ImageReference,
    n: Count = 1000,
    skip: Annotated[int, Query(ge=0, le=_MOST_SKIPPED, description="How many packages to pass over.")] = 0,
) -> ImagePackagesOut:
    """List the packages of an image that the caller may pull, by its SBOMs; of an index, those of all its images."""
    image = await find_pulled_image(context, reference)
    readable = await _find_readable(context, image)
    read = partial(list_packages, limit=LIMIT_OF_REQUESTS, refused=readable.refused)
    found = await context.threads.make(read, context.catalog, image.snapshot, image.digest)
    return ImagePackagesOut(
        digest=image.digest,
        sboms=[SbomOut.model_validate(one, from_attributes=True) for one in found.sboms],
        packages=[ImagePackageOut.model_validate(one, from_attributes=True) for one in found.packages[skip : skip + n]],
        total=len(found.packages),
        is_cut=found.is_cut,
    )


@dataclass(frozen=True, slots=True)
class _Readable:
    """What policies refuse of the documents about an image; `is_cut`: there are more documents than are read."""

    refused: frozenset[Digest]
    is_cut: bool


async def _find_readable(context: RequestContext, image: PulledImage) -> _Readable:
    most = LIMIT_OF_REQUESTS.layers
    layers = await context.threads.make(find_layers, context.catalog, image.snapshot, image.digest, most)
    return _Readable(await find_refused(context, image, layers[:most]), len(layers) > most)
