"""Resumable uploads: chunks are appended to a file at the offset that the server states.

A partial file is in `partial/` of the data folder. The complete file is `uploads/ID/NAME`.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

from anyio.to_thread import run_sync
from pydantic import Field

from vsr.config import Config
from vsr.errors import VsrError
from vsr.system.files import flush_folder, make_folder
from vsr.web.database import Database
from vsr.web.files import kind_of
from vsr.web.names import clean_name
from vsr.web.playlists import is_playlist
from vsr.web.refusals import Conflict, NotFound, Refused, WrongOffset
from vsr.web.settings import Limits

_BLOCK = 1 << 20
"""Bytes that are written at once."""
_FLUSH = 32 << 20
"""Bytes after which the file is flushed to the disk, so that a power cut costs no more."""
_KEPT_SECONDS = 7 * 24 * 3600
"""Time after which an incomplete upload is removed at the start of a server."""


class NewUpload(Config):
    """A file that a client is about to send."""

    name: str = Field(min_length=1, max_length=1000)
    """Its name."""
    bytes: int = Field(ge=1, le=2**62)
    """Its size."""


class Upload(Config):
    """A file that is being sent, or was."""

    upload: str
    """Identifier."""
    name: str
    """Name of the file, cleaned."""
    bytes: int
    """Size of the whole file."""
    offset: int
    """Bytes received: where the next chunk starts."""
    complete: bool
    """Whether the file is complete."""
    file: str | None
    """Reference of the complete file."""
    created: float
    """Time of creation, in seconds since 1970."""


class _Writer:
    """An upload in progress, and the lock of its file."""

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.lock = asyncio.Lock()
        self.turn = object()
        """The request that writes; a newer one takes over, as its client has lost the older."""


class Uploads:
    """All uploads of a server."""

    def __init__(self, data: Path, database: Database, limits: Limits) -> None:
        """Load the uploads of an earlier run, and remove old incomplete ones."""
        self._folder, self._partial = data / "uploads", data / "partial"
        make_folder(self._partial)
        self._database = database
        self._limits = limits
        self._writers: dict[str, _Writer] = {}
        self.received_bytes = 0
        """Bytes received since the start."""
        self._load()

    def all(self) -> list[Upload]:
        """List uploads, the newest first."""
        uploads = [writer.upload for writer in self._writers.values()]
        return sorted(uploads, key=lambda upload: -upload.created)

    def get(self, identifier: str) -> Upload:
        """Return an upload; raises `NotFound`."""
        return self._writer(identifier).upload

    async def create(self, new: NewUpload) -> Upload:
        """Start an upload. Raises `VsrError` where a limit is reached, or the name is unusable."""
        name = clean_name(new.name)
        if kind_of(Path(name)) is None:
            raise VsrError(f"{name or 'the name'}: its suffix is that of no film or picture")
        if new.bytes > self._limits.upload_bytes:
            raise Refused(
                f"{name}: has {new.bytes} bytes; the limit is {self._limits.upload_bytes}", 413
            )
        pending = [upload for upload in self.all() if not upload.complete]
        if len(pending) >= self._limits.uploads:
            raise Refused(
                f"{len(pending)} uploads are incomplete, the limit; complete or delete one",
                429,
            )
        promised = sum(upload.bytes - upload.offset for upload in pending)
        free = shutil.disk_usage(self._partial).free - promised - self._limits.free_bytes
        if new.bytes > free:
            raise Refused(f"{name}: {new.bytes} bytes don't fit on the disk", 413)
        upload = Upload(
            upload=secrets.token_hex(8),
            name=name,
            bytes=new.bytes,
            offset=0,
            complete=False,
            file=None,
            created=time.time(),
        )
        self._writers[upload.upload] = _Writer(upload)  # now: it counts for the limit
        try:
            await run_sync(self._create_files, upload)
        except BaseException:  # the disk is full
            del self._writers[upload.upload]
            raise
        return upload

    async def append(self, identifier: str, offset: int, chunks: AsyncIterator[bytes]) -> Upload:
        """Append a chunk, which starts at `offset`.

        What arrived before the connection broke is kept. A newer request for the same upload ends
        this one. Raises `Conflict` where `offset` isn't the upload's, `Refused` where more arrives
        than the file holds.
        """
        writer = self._writer(identifier)
        turn = writer.turn = object()
        async with writer.lock:
            if writer.upload.complete or offset != writer.upload.offset:
                raise WrongOffset(offset, writer.upload.offset)
        block = bytearray()
        try:
            async for chunk in chunks:
                block += chunk
                if len(block) >= _BLOCK:
                    await self._write(writer, turn, block)
                    block = bytearray()
        finally:
            if block:
                await asyncio.shield(self._write(writer, turn, block))
        async with writer.lock:
            self._check_turn(writer, turn)
            await run_sync(self._flush, writer.upload)
            if writer.upload.offset == writer.upload.bytes and not writer.upload.complete:
                await run_sync(self._complete, writer)
        return writer.upload

    async def delete(self, identifier: str) -> None:
        """Remove an upload and its file."""
        writer = self._writer(identifier)
        async with writer.lock:
            writer.turn = object()
            self._writers.pop(identifier, None)
            await run_sync(self._delete_files, identifier)

    async def _write(self, writer: _Writer, turn: object, block: bytes | bytearray) -> None:
        async with writer.lock:
            upload = writer.upload
            self._check_turn(writer, turn)
            if len(block) > upload.bytes - upload.offset:
                raise Refused(f"{upload.name}: more arrived than its {upload.bytes} bytes", 413)
            await run_sync(self._append_block, writer, block)

    def _check_turn(self, writer: _Writer, turn: object) -> None:
        if writer.turn is not turn:
            raise Conflict("a newer request continues this upload, or removed it")

    def _append_block(self, writer: _Writer, block: bytes | bytearray) -> None:
        upload = writer.upload
        if shutil.disk_usage(self._partial).free < self._limits.free_bytes + len(block):
            raise Refused(f"{upload.name}: the disk is full", 413)
        path = self._path(upload.upload)
        try:
            with path.open("r+b") as file:
                file.seek(upload.offset)
                file.write(block)
        except OSError as error:
            raise Refused(f"{upload.name}: can't be written: {error.strerror}", 413) from error
        self.received_bytes += len(block)
        offset = upload.offset + len(block)
        writer.upload = upload.model_copy(update={"offset": offset})
        if offset // _FLUSH > upload.offset // _FLUSH:
            self._flush(writer.upload)

    def _flush(self, upload: Upload) -> None:
        """Flush the file to the disk, then record its length."""
        if upload.complete:
            return
        with self._path(upload.upload).open("r+b") as file:
            os.fsync(file.fileno())
        self._save(upload)

    def _complete(self, writer: _Writer) -> None:
        """Move the file to its place. Raises `VsrError` for a playlist, which is removed."""
        upload = writer.upload
        path = self._path(upload.upload)
        if is_playlist(path):
            self._writers.pop(upload.upload, None)
            self._delete_files(upload.upload)
            raise VsrError(f"{upload.name}: is a playlist, not a film; upload the film itself")
        folder = self._folder / upload.upload
        folder.mkdir(exist_ok=True)
        flush_folder(self._folder)
        path.replace(folder / upload.name)
        flush_folder(folder)
        reference = f"uploads/{upload.upload}/{upload.name}"
        writer.upload = upload.model_copy(update={"complete": True, "file": reference})
        self._save(writer.upload)

    def _create_files(self, upload: Upload) -> None:
        self._path(upload.upload).touch()
        self._save(upload)

    def _delete_files(self, identifier: str) -> None:
        self._database.write("DELETE FROM uploads WHERE upload = ?", (identifier,))
        self._path(identifier).unlink(missing_ok=True)
        shutil.rmtree(self._folder / identifier, ignore_errors=True)

    def _save(self, upload: Upload) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO uploads VALUES (?, ?)",
            (upload.upload, upload.model_dump_json()),
        )

    def _load(self) -> None:
        """Read the record; a file is as long as what was flushed, or longer."""
        for (record,) in self._database.rows("SELECT record FROM uploads"):
            upload = Upload.model_validate_json(record)
            path = self._path(upload.upload)
            whole = self._folder / upload.upload / upload.name
            if not upload.complete and not path.exists() and whole.exists():  # moved, not recorded
                reference = f"uploads/{upload.upload}/{upload.name}"
                upload = upload.model_copy(update={"complete": True, "file": reference})
                self._save(upload)
            if upload.complete:
                is_kept = whole.exists()
            else:
                age = time.time() - upload.created
                is_kept = age < _KEPT_SECONDS and path.exists()
            if not is_kept:
                self._delete_files(upload.upload)
                continue
            if not upload.complete:
                os.truncate(path, upload.offset)
            self._writers[upload.upload] = _Writer(upload)

    def _path(self, identifier: str) -> Path:
        return self._partial / identifier

    def _writer(self, identifier: str) -> _Writer:
        try:
            return self._writers[identifier]
        except KeyError as error:
            raise NotFound("no such upload") from error
