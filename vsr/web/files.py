"""References to files, `ROOT/relative/path`, and the listing of folders.

A reference names no file outside its root, whatever it holds, and whatever links lead out of it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from vsr.config import Config
from vsr.errors import DataError
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES, is_hidden
from vsr.web.playlists import is_playlist
from vsr.web.refusals import NotFound

Kind = Literal["film", "picture"]


class FolderEntry(Config):
    """A folder within a folder."""

    path: str
    """Reference of the folder."""
    name: str
    """Name to show."""


class FileEntry(Config):
    """A film or picture within a folder."""

    file: str
    """Reference of the file."""
    name: str
    """Name to show."""
    bytes: int
    """Size of the file."""
    modified: float
    """Time of the last change, in seconds since 1970."""
    kind: Kind
    """By the suffix."""


class FolderListing(Config):
    """Films, pictures and folders in one folder."""

    path: str
    """Reference of the folder; empty for the list of roots."""
    parent: str | None
    """Reference of the folder above; empty for the list of roots, null there."""
    folders: list[FolderEntry]
    """Folders, sorted by name."""
    files: list[FileEntry]
    """Films and pictures, sorted by name."""
    is_cut: bool = False
    """Whether there are more entries than the limit of a listing."""


class Roots:
    """The folders that clients see, by name."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Each folder must exist."""
        self._folders = {name: folder.resolve() for name, folder in folders.items()}

    @property
    def names(self) -> list[str]:
        """Names of the folders."""
        return list(self._folders)

    def folder(self, name: str) -> Path:
        """Return the folder of a root."""
        return self._folders[name]

    def resolve(self, reference: str) -> Path:
        """Return the path of a file or folder, without links; raises `NotFound`.

        Hidden names are not found either: they are unfinished work and settings.
        """
        name, *parts = reference.removesuffix("/").split("/")
        root = self._folders.get(name)
        if root is None or not all(map(_is_plain, parts)):
            raise _not_found(reference)
        try:
            path = root.joinpath(*parts).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise _not_found(reference) from error
        if not path.is_relative_to(root):
            raise _not_found(reference)
        return path

    def resolve_file(self, reference: str) -> Path:
        """Return the path of a regular file; raises `NotFound`."""
        path = self.resolve(reference)
        if not path.is_file() or not os.access(path, os.R_OK):
            raise _not_found(reference)
        return path

    def resolve_media(self, reference: str) -> Path:
        """Return the path of a film or picture; raises `NotFound`, or `DataError` for a playlist.

        A playlist could name files outside the root.
        """
        path = self.resolve_file(reference)
        try:
            is_list = is_playlist(path)
        except OSError as error:
            raise _not_found(reference) from error
        if is_list:
            raise DataError(f"{reference}: is a playlist, not a film; choose the film itself")
        return path

    def reference(self, path: Path) -> str | None:
        """Return the reference of a path; None if it is in no root."""
        for name, root in self._folders.items():
            if path.is_relative_to(root):
                return "/".join((name, *path.relative_to(root).parts))
        return None

    def shorten(self, text: str) -> str:
        """Replace the paths of roots in a message by their names."""
        for name, root in sorted(
            self._folders.items(), key=lambda item: len(str(item[1])), reverse=True
        ):
            text = text.replace(str(root), name)
        return text

    def list(self, reference: str, most: int) -> FolderListing:
        """List a folder, or the roots for an empty reference; raises `NotFound`.

        Links that lead out of the root are left out. `most` limits the entries of the folder.
        """
        if reference.strip("/") == "":
            folders = [FolderEntry(path=name, name=name) for name in self._folders]
            return FolderListing(path="", parent=None, folders=folders, files=[])
        folder = self.resolve(reference)
        reference = "/".join((*reference.removesuffix("/").split("/"),))
        listing = FolderListing(
            path=reference, parent=reference.rpartition("/")[0], folders=[], files=[]
        )
        try:
            names = sorted(filter(_is_plain, os.listdir(folder)), key=str.casefold)
        except OSError as error:
            raise _not_found(reference) from error
        for name in names[:most]:
            self._add_entry(listing, f"{reference}/{name}", name)
        return listing.model_copy(update={"is_cut": len(names) > most})

    def _add_entry(self, listing: FolderListing, reference: str, name: str) -> None:
        try:
            path = self.resolve(reference)
            status = path.stat()
        except (NotFound, OSError):
            return
        if path.is_dir():
            listing.folders.append(FolderEntry(path=reference, name=name))
        elif path.is_file() and (kind := kind_of(path)):
            listing.files.append(
                FileEntry(
                    file=reference,
                    name=name,
                    bytes=status.st_size,
                    modified=status.st_mtime,
                    kind=kind,
                )
            )


def kind_of(path: Path) -> Kind | None:
    """Return what a file's suffix says it is."""
    suffix = path.suffix.lower()
    if suffix in FILM_SUFFIXES:
        return "film"
    return "picture" if suffix in STILL_SUFFIXES else None


def _is_plain(name: str) -> bool:
    """Whether a name is valid, visible and no step to another folder."""
    if name == "" or is_hidden(name) or "\0" in name or "\\" in name:
        return False
    return all(not "\ud800" <= character <= "\udfff" for character in name)


def _not_found(reference: str) -> NotFound:
    shown = reference[:200].encode("utf-8", errors="backslashreplace").decode()
    return NotFound(f"{shown!r}: no such file or folder")
