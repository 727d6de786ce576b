"""The routers of all pages."""

from registry_api.pages import (
    access,
    activity,
    ask,
    home,
    image,
    login,
    paths,
    repositories,
    repository,
    search,
    versions,
)
from registry_api.pages.framework import static_files

PAGES = (
    home.router,
    repositories.router,
    repository.router,
    versions.router,
    image.router,
    search.router,
    paths.router,
    activity.router,
    ask.router,
    access.router,
    login.router,
    static_files.router,
)
