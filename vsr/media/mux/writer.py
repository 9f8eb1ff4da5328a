"""Encode a film as it comes, beside its place, and rename it when whole; or into a pipe."""

from pathlib import Path
from types import TracebackType

import av

from vsr.errors import OutputError
from vsr.media.decode.container import AnyPacket
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.encoder import VideoEncoder, check_settings
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, StreamInfo
from vsr.media.mux.muxer import Dropped, Muxer
from vsr.media.mux.stream_copy import MUXERS, plan_copy
from vsr.system.address import PIPE
from vsr.system.files import check_output_path, check_standard_output, partial_path, write_failure

VIDEO_SUFFIXES = frozenset(MUXERS) - {".nut"}
"""Of the films that are written, by file name."""


def check_output(path: Path, settings: EncoderSettings, overwrite: bool) -> None:
    """Raise `OutputError` where `path` couldn't be written, before any work is done."""
    check_output_path(path, "film", VIDEO_SUFFIXES, overwrite)
    try:
        check_settings(settings, path.suffix.lower())
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error


class VideoWriter:
    """One video stream, encoded from frames, and what goes along of a source.

    Frames come in order of presentation, packets in file order. Leaving the `with`
    block without an error puts the file in its place; with one, nothing is left.
    """

    def __init__(
        self,
        path: Path | str,
        info: StreamInfo,
        source: VideoReader | None = None,
        settings: EncoderSettings = EncoderSettings(),
        overwrite: bool = False,
    ) -> None:
        """Open the output for frames as `info` describes them; its layout must be one
        that `settings.layout_for` gives. `-` is standard output, as NUT. Raises `OutputError`.
        """
        self.path = Path(path)
        if self.path == PIPE:
            check_standard_output()
        else:
            check_output(self.path, settings, overwrite)
        self._overwrite = overwrite
        partial = partial_path(self.path)
        suffix = ".nut" if self.path == PIPE else self.path.suffix.lower()
        try:
            self._encoder = VideoEncoder(info, settings)
        except (av.error.FFmpegError, ValueError) as error:
            raise write_failure(self.path, error) from error
        baggage = plan_copy(source, suffix) if source else None
        self.left_out = baggage.left_out if baggage else ()
        container = source.container if source else None
        self._muxer = Muxer(self.path, partial, self._encoder.video, info, baggage, container)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._muxer.discard()
            return
        try:
            self._finish()
        except BaseException:
            self._muxer.discard()
            raise

    @property
    def dropped(self) -> Dropped:
        """Packets of the source that are missing so far."""
        return self._muxer.dropped

    def write(self, item: Frame | AnyPacket) -> None:
        """Encode a frame, or copy a packet of the source's other streams."""
        if not isinstance(item, Frame):
            self._muxer.copy(item)
            return
        try:
            packets = list(self._encoder.encode(item))
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self.path, error) from error
        for packet in packets:
            self._muxer.write(packet)

    def _finish(self) -> None:
        for packet in self._encoder.finish():
            self._muxer.write(packet)
        self._muxer.close()
        if self.path == PIPE:
            return
        if self.path.exists() and not self._overwrite:
            raise OutputError(f"{self.path}: appeared while it was being made; left as it is")
        self._muxer.place.replace(self.path)
