"""The commands of README and the guides, run as they stand; and the documentation as a site.

`commands` finds them in a page, `reader` is whoever pastes them, `upstreams` the registries that they name.
"""
