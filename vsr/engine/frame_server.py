"""Upscale frames of a clip by number, for hosts that request frames in any order."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vsr.engine.backends.base import Backend, Planes
from vsr.frames.shots import LOCAL_WINDOW_AFTER, LOCAL_WINDOW_BEFORE, LocalCutDetector
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Frame, Plane
from vsr.models import Generator
from vsr.zoo import choose_model, default_detail, load

WARM_UP_FRAMES = 24
"""Default of the frames that are upscaled before a requested one; see `FrameServer`."""
_SETTLED_FRAMES = 16
"""Frames after which the effect of an arbitrary start is at most one code value in f32, see
`engine.warm_up`."""
_LONGEST_SKIP = 24
"""Frames between two requests that are upscaled, too, rather than to start again."""
_SCANNED_FRAMES = 32
"""Frames searched for a cut at once."""
_KEPT_FRAMES, _KEPT_BYTES = 16, 512_000_000
"""Limits of the upscaled frames that are kept, for requests that arrive out of order."""


@dataclass(frozen=True)
class ClipFrame:
    """A frame of a clip."""

    planes: Sequence[Plane]
    """Y, Cb and Cr."""
    spec: ColourSpec
    """How code values represent colour."""
    is_cut: bool | None = None
    """Whether it is the first frame of a shot; None if that is to be detected."""
    source: Any = None
    """The host's own frame, returned with the result."""


class UpscaledFrame(NamedTuple):
    """An upscaled frame."""

    planes: Planes
    """Y, Cb and Cr."""
    low: ClipFrame
    """The frame before upscaling."""


class FrameServer:
    """Upscales requested frames of a clip, and keeps the recurrent state for the next request.

    Frames requested in order, from the first one on, are upscaled as `vsr upscale` does. After a
    seek, the network starts at the last cut, or `warm_up` frames before the requested one if the
    cut is farther away. In the first case, the result doesn't depend on earlier requests. In the
    second case, in f32, no sample differs by more than one code value if `warm_up` is at least 16.
    If `warm_up` is None, the network always starts at the cut. Threads take turns.
    """

    def __init__(
        self,
        read: Callable[[int], ClipFrame],
        count: int,
        build: Callable[[ColourSpec], Backend],
        warm_up: int | None = WARM_UP_FRAMES,
    ) -> None:
        """Upscale `count` frames, which `read` returns by number.

        `build` returns a backend for the frames of a colour format. Where the format changes, a
        shot starts.
        """
        self._read, self._count, self._build = read, count, build
        self._warm_up = warm_up
        self._lock = threading.Lock()
        self._scan: _Scan | None = _Scan(read, count, 0)
        """None after an error."""
        self._restarts = True
        self._first_kept = 0
        """Earlier frames only warm the network up."""
        self._backend: tuple[ColourSpec, Backend] | None = None
        self._kept: OrderedDict[int, UpscaledFrame] = OrderedDict()

    def upscale(self, index: int) -> UpscaledFrame:
        """Return the frame with a number from 0 on."""
        with self._lock:
            if index not in self._kept:
                scan = self._scan
                if scan is None or not 0 <= index - scan.index <= _LONGEST_SKIP:
                    scan = self._seek(index)
                self._scan = None  # unless all frames succeed
                while scan.index <= index:
                    self._step(scan)
                self._scan = scan
            return self._kept[index]

    def _seek(self, index: int) -> "_Scan":
        """Return a scan that starts at the last cut, or at the warm-up before a frame."""
        start, is_exact = self._start_before(index)
        scan = self._scan_from(start)
        self._restarts = True
        self._first_kept = start if is_exact else min(index, start + _SETTLED_FRAMES)
        return scan

    def _start_before(self, index: int) -> tuple[int, bool]:
        """Return the number of the frame to start at, and whether it is the first of a shot."""
        last, length = index, _SCANNED_FRAMES if self._warm_up is None else self._warm_up + 1
        while True:
            first = max(0, last + 1 - length)
            scan = self._scan_from(first)
            cuts = [number for number in range(first, last + 1) if scan.take()[1]]
            if cuts:
                return cuts[-1], True
            if self._warm_up is not None or first == 0:
                return first, False
            last = first - 1

    def _scan_from(self, index: int) -> "_Scan":
        scan = _Scan(self._read, self._count, max(0, index - LOCAL_WINDOW_BEFORE))
        while scan.index < index:
            scan.take()
        return scan

    def _step(self, scan: "_Scan") -> None:
        """Upscale the next frame of a scan."""
        index = scan.index
        frame, is_cut = scan.take()
        starts = is_cut or self._restarts
        if self._backend is None or self._backend[0] != frame.spec:
            self._backend = None  # its memory may be needed
            self._backend = frame.spec, self._build(frame.spec)
            starts = True
        self._restarts = False
        planes = self._backend[1].upscale(frame.planes, starts)
        if index < self._first_kept:
            return
        self._kept[index] = UpscaledFrame(planes, frame)
        self._kept.move_to_end(index)
        most = min(_KEPT_FRAMES, _KEPT_BYTES // sum(plane.nbytes for plane in planes))
        while len(self._kept) > max(1, most):
            self._kept.popitem(last=False)


class _Scan:
    """Reads frames in order, and detects cuts with a look-ahead."""

    def __init__(self, read: Callable[[int], ClipFrame], count: int, first: int) -> None:
        """Start at index `first` of `count` frames."""
        self.index = first
        """Number of the next frame."""
        self._read, self._count = read, count
        self._ahead: deque[ClipFrame] = deque()
        self._detector: LocalCutDetector | None = LocalCutDetector(first)

    def take(self) -> tuple[ClipFrame, bool]:
        """Return the next frame, and whether it is the first one of a shot."""
        if not self._ahead:
            self._read_next()
        self._look_ahead()
        frame = self._ahead.popleft()
        is_cut = frame.is_cut
        if is_cut is None:
            is_cut = self._detector is not None and self._detector.is_cut(self.index)
        self.index += 1
        return frame, is_cut

    def _look_ahead(self) -> None:
        """Read the frames on which the flag of the next one depends."""
        while self._detector is not None and len(self._ahead) <= LOCAL_WINDOW_AFTER:
            if self.index + len(self._ahead) >= self._count:
                return
            try:
                self._read_next()
            except Exception:
                # Players don't know how many frames there are. Any other error will be raised again
                # when this frame is requested.
                return

    def _read_next(self) -> None:
        index = self.index + len(self._ahead)
        frame = self._read(index)
        if frame.is_cut is not None and not self._ahead:
            self._detector = None
        elif frame.is_cut is None and self._detector is None:
            self._detector = LocalCutDetector(index)
        if self._detector is not None:
            depth = frame.spec.bit_depth
            self._detector.push(Frame(frame.planes, pts=0, bit_depth=depth))
        self._ahead.append(frame)


def load_generator(
    model: str | None,
    scale: int | None,
    detail: float | None,
    height: int,
    denoise: float | None = None,
    steady: float = 0.0,
) -> Generator[Any]:
    """Load the generator for clips of `height` lines, by the defaults of `vsr upscale`.

    Raises `ModelError`.
    """
    name = choose_model(model, scale, height, detail)
    own_scale = load(name).scale
    detail = default_detail(name, scale or own_scale) if detail is None else detail
    return load(name, scale, detail, denoise, steady)
