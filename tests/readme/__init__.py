"""README's commands, run as they stand.

`commands` finds them, `reader` is whoever pastes them, `upstreams` the registries that they name.
"""
