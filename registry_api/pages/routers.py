"""The routers of all pages."""

from registry_api.pages import (
    activity,
    home,
    live,
    paths,
    repositories,
    repository,
    search,
    versions,
)
from registry_api.pages.administration import access, ask, space
from registry_api.pages.api_docs import page as api_docs
from registry_api.pages.changes import flow_runs, pins, promotion, restore, tag_deletion
from registry_api.pages.framework import static_files
from registry_api.pages.images import image, packages, provenance
from registry_api.pages.logins import by_issuer, by_password

PAGES = (
    home.router,
    repositories.router,
    repository.router,
    versions.router,
    image.router,
    packages.router,
    provenance.router,
    search.router,
    paths.router,
    activity.router,
    space.router,
    ask.router,
    access.router,
    restore.router,
    pins.router,
    tag_deletion.router,
    promotion.router,
    flow_runs.router,
    live.router,
    by_password.router,
    by_issuer.router,
    api_docs.router,
    static_files.router,
)
