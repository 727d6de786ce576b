"""The routers of all pages."""

from registry_api.pages import home, login, repositories, static_files

PAGES = (home.router, repositories.router, login.router, static_files.router)
