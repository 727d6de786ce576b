"""Records in memory that are read when somebody first asks for them: a command that needs none of them does not wait."""

from typing import TYPE_CHECKING


class ReadAtFirstUse:
    """What a class annotates and does not set is there after its `reload`, which the first look at any of it calls.

    `reload` may be called again by any thread; it sets all of it.
    """

    def reload(self) -> None:
        """Read the records."""
        raise NotImplementedError

    def ensure_read(self) -> None:
        """Read the records unless they are there. Call it before a write: what is read within one may be undone."""
        if not vars(self).keys() >= type(self).__annotations__.keys():
            self.reload()

    if not TYPE_CHECKING:  # else every name that nobody has would pass the check of types

        def __getattr__(self, name: str) -> object:
            if name not in type(self).__annotations__:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            self.reload()
            return vars(self)[name]
