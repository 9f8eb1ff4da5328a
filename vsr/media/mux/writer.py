"""Encode a film to a file that appears when it is complete, or to a pipe."""

from pathlib import Path

import av

from vsr.errors import OutputError
from vsr.media.decode.container import AnyPacket
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.encoder import VideoEncoder, check_settings
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, StreamInfo
from vsr.media.mux.muxer import Dropped, Muxer
from vsr.media.mux.stream_copy import MUXERS, CopyPlan, plan_copy
from vsr.system.address import PIPE
from vsr.system.files import (
    check_output_path,
    check_standard_output,
    output_errors,
    partial_path,
    write_failure,
)

VIDEO_SUFFIXES = frozenset(MUXERS) - {".nut"}
"""Suffixes of the video files that can be written."""


def check_output(path: Path, settings: EncoderSettings, overwrite: bool) -> None:
    """Raise `OutputError` where `path` can't be written with these settings."""
    check_output_path(path, "film", suffixes=VIDEO_SUFFIXES, overwrite=overwrite)
    try:
        check_settings(settings, path.suffix.lower())
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error


class VideoWriter:
    """Encodes frames to a video stream, and copies the other streams of a source.

    Frames are written in presentation order, packets in file order. Leaving the `with` block
    renames the file to its final name; after an error, nothing is left.
    """

    def __init__(
        self,
        path: Path | str,
        info: StreamInfo,
        source: VideoReader | None = None,
        settings: EncoderSettings = EncoderSettings(),
        overwrite: bool = False,
        plan: CopyPlan | None = None,
    ) -> None:
        """Open the output for frames as `info` describes them; `-` is standard output, as NUT.

        The layout must be one that `settings.layout_for` returns. `plan` says what to copy from
        `source`, by default all that the container holds. Raises `OutputError`.
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
        if plan is None and source is not None:
            plan = plan_copy(source, suffix)
        self.left_out = plan.left_out if plan else ()
        """Streams and tags that the container can't hold, one line each."""
        self._muxer = Muxer(
            name=self.path,
            partial=partial,
            video=self._encoder.video,
            info=info,
            plan=plan,
            source=source.container if source else None,
        )

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not None:
            self._muxer.discard()
            return
        try:
            self._finish()
        except BaseException:
            self._muxer.discard()
            raise

    @property
    def dropped(self) -> Dropped:
        """Packets of the source that are missing in the output so far."""
        return self._muxer.dropped

    def write(self, item: Frame | AnyPacket) -> None:
        """Encode a frame, or copy a packet of another stream of the source."""
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
            raise OutputError(
                f"{self.path}: was created by another program in the meantime; it is left as it is"
            )
        with output_errors(self.path):
            self._muxer.partial.replace(self.path)
