"""The home's folders and files, made the owner's alone: also those that were there before, with whatever rights."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from catalog.settings import Settings

log = logging.getLogger("catalog")
_OTHERS = 0o077


def make_home(settings: Settings) -> None:
    """Make the home, readable by its owner alone."""
    settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)


def keep_private(settings: Settings) -> list[Path]:
    """Take others' rights away from the home, what lies in it, and the catalogue's files; return what was changed.

    It is logged as a warning where others could get at it: in a home that was theirs to enter.

    Folders within folders are left: nobody gets there. What belongs to another user, or is a link, is left too, with a warning
    where others may read it.
    """
    changed = []
    root, catalog = settings.root, settings.catalog_file.parent
    was_open = {
        root: _is_open(root),
        catalog: _is_open(catalog) and (_is_open(root) or not catalog.is_relative_to(root)),
    }
    for path in _places(settings):
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode) or not status.st_mode & _OTHERS:
                continue
            path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
        except FileNotFoundError:  # a file of a moment, such as a database's journal
            continue
        except OSError as error:
            log.warning("others may read what this installation keeps path=%s error=%s", path, error.strerror)
            continue
        changed.append(path)
        level = logging.WARNING if was_open.get(path.parent, True) or path == settings.root else logging.DEBUG
        log.log(level, "took others' rights away path=%s was=%03o", path, stat.S_IMODE(status.st_mode))
    return changed


def _places(settings: Settings) -> Iterator[Path]:
    root, catalog = settings.root, settings.catalog_file
    yield Path(os.path.realpath(root))
    yield from _inside(root)
    if catalog.parent.is_relative_to(root):
        yield from _inside(catalog.parent)
    else:
        ours = (f"{catalog.stem}.", "holdings.")
        folders = {"data", "projection"}
        yield from (path for path in _inside(catalog.parent) if path.name.startswith(ours) or path.name in folders)


def _is_open(folder: Path) -> bool:
    """Return whether others may enter a folder; False for one that is not there."""
    try:
        return bool(folder.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
