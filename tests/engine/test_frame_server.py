from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.helpers.films import scenes
from vsr.engine.backends.base import Backend, Planes
from vsr.engine.backends.torch_eager import TorchBackend
from vsr.engine.frame_server import ClipFrame, FrameServer, load_generator
from vsr.frames.shots import LOCAL_WINDOW_BEFORE, LocalCutDetector, mark_cuts
from vsr.imaging.colour import ColourSpec, Matrix, Subsampling
from vsr.media.frame import Frame, Plane

SPEC = ColourSpec(Matrix.BT601, full_range=True, subsampling=Subsampling(1, 1))
LENGTHS = (12, 9, 60, 3, 11)
CUTS = [0, 12, 21, 81]
"""Of `LENGTHS`; the last cut follows another one after fewer than five frames."""


class History(Backend):
    """Outputs the numbers of the frames since the start of the shot, which is its state."""

    name = "history"

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.computed = 0

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        self.seen = [] if begins_shot else self.seen
        self.seen.append(int(planes[0][0, 0]))
        self.computed += 1
        return (np.array([self.seen], np.uint16),)

    def get_state(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def set_state(self, state: tuple[Tensor, ...]) -> None:
        raise NotImplementedError


def numbered(index: int, is_cut: bool | None = False, spec: ColourSpec = SPEC) -> ClipFrame:
    return ClipFrame((np.full((8, 8), index, np.uint8),) * 3, spec, is_cut)


def history(server: FrameServer, index: int) -> list[int]:
    return list(server.upscale(index).planes[0][0])


def with_cuts(cuts: set[int], backend: Backend, warm_up: int | None) -> FrameServer:
    return FrameServer(lambda n: numbered(n, n in cuts), 200, lambda spec: backend, warm_up)


def film(width: int = 96, height: int = 64) -> list[ClipFrame]:
    return [as_clip_frame(picture) for picture in scenes(width, height, LENGTHS)]


def as_clip_frame(picture: NDArray[np.uint8]) -> ClipFrame:
    y, cr, cb = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    planes: Any = (y, cb, cr)
    return ClipFrame(planes, SPEC)


def as_frames(clip: list[ClipFrame]) -> list[Frame]:
    return [Frame(frame.planes, pts=index) for index, frame in enumerate(clip)]


def test_frames_in_order_have_the_state_of_one_run() -> None:
    server = with_cuts({0, 5}, History(), 24)
    assert [history(server, index) for index in (0, 1, 4, 5, 7)] == [
        [0],
        [0, 1],
        [0, 1, 2, 3, 4],
        [5],
        [5, 6, 7],
    ]


def test_a_seek_starts_at_the_last_cut() -> None:
    assert history(with_cuts({0, 90, 95}, History(), 24), 100) == list(range(95, 101))


def test_a_seek_starts_at_most_the_warm_up_before() -> None:
    assert history(with_cuts({0}, History(), 24), 100) == list(range(76, 101))


def test_without_warm_up_limit_a_seek_starts_at_any_last_cut() -> None:
    assert history(with_cuts({0, 3}, History(), None), 150) == list(range(3, 151))


def test_without_warm_up_limit_the_order_of_requests_changes_nothing() -> None:
    cuts = {0, 40, 47, 130}
    in_order = with_cuts(cuts, History(), None)
    expected = [history(in_order, index) for index in range(200)]
    any_order = with_cuts(cuts, History(), None)
    for index in np.random.default_rng(0).permutation(200)[:40]:
        assert history(any_order, int(index)) == expected[index]


def test_frames_that_warm_the_network_up_are_not_returned() -> None:
    server = with_cuts({0}, History(), 24)
    server.upscale(100)
    assert history(server, 80) == list(range(56, 81))


def test_requests_out_of_order_compute_each_frame_once() -> None:
    backend = History()
    server = with_cuts({0}, backend, 24)
    for index in (3, 1, 0, 2, 7, 5, 6, 4):
        assert history(server, index) == list(range(index + 1))
    assert backend.computed == 8


def test_another_colour_format_starts_a_shot() -> None:
    other = ColourSpec(Matrix.BT709)

    def read(index: int) -> ClipFrame:
        return numbered(index, spec=SPEC if index < 5 else other)

    server = FrameServer(read, 10, lambda spec: History())
    assert [history(server, index) for index in (4, 6)] == [[0, 1, 2, 3, 4], [5, 6]]


def test_the_source_frame_is_returned() -> None:
    source = object()
    frame = ClipFrame(numbered(0).planes, SPEC, True, source)
    server = FrameServer(lambda index: frame, 1, lambda spec: History())
    assert server.upscale(0).low.source is source


def test_a_clip_may_end_before_its_last_frame() -> None:
    def read(index: int) -> ClipFrame:
        if index > 5:
            raise EOFError
        return numbered(index, is_cut=None)

    server = FrameServer(read, 1000, lambda spec: History())
    assert [history(server, index)[-1] for index in range(6)] == list(range(6))
    with pytest.raises(EOFError):
        server.upscale(6)


def test_a_failed_request_can_be_repeated() -> None:
    is_broken = True

    def read(index: int) -> ClipFrame:
        if is_broken and index == 4:
            raise OSError("unplugged")
        return numbered(index)

    server = FrameServer(read, 20, lambda spec: History())
    server.upscale(2)
    with pytest.raises(OSError, match="unplugged"):
        server.upscale(5)
    is_broken = False
    assert history(server, 5) == list(range(6))


def test_frames_are_read_once_and_two_ahead() -> None:
    frames, numbers = film(), list[int]()

    def read(index: int) -> ClipFrame:
        numbers.append(index)
        return frames[index]

    server = FrameServer(read, len(frames), lambda spec: History())
    for index in range(30):
        server.upscale(index)
        assert numbers == list(range(index + 3))


def test_cuts_are_detected_after_frames_whose_cuts_are_known() -> None:
    frames = film()

    def read(index: int) -> ClipFrame:
        return replace(frames[index], is_cut=False) if index < 3 else frames[index]

    starts: list[bool] = []

    class Recording(History):
        def upscale(
            self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
        ) -> Planes:
            starts.append(begins_shot)
            return super().upscale(planes, begins_shot)

    backend = Recording()
    server = FrameServer(read, len(frames), lambda spec: backend)
    for index in range(30):
        server.upscale(index)
    assert [index for index, is_first in enumerate(starts) if is_first] == [0, 12, 21]


def test_cuts_are_those_of_a_run() -> None:
    marked = list(mark_cuts(as_frames(film())))
    assert [index for index, (_, is_cut) in enumerate(marked) if is_cut] == CUTS
    detector = LocalCutDetector(0)
    found = []
    for index, frame in enumerate(as_frames(film())):
        detector.push(frame)
        found += [index - 2] if detector.is_cut(index - 2) else []
    assert found == CUTS


@pytest.mark.parametrize("start", [3, 5, 8, 14, 73, 77])
def test_cuts_do_not_depend_on_where_reading_starts(start: int) -> None:
    frames = as_frames(film())
    detector = LocalCutDetector(start)
    found = []
    for index in range(start, len(frames)):
        detector.push(frames[index])
        found += [index - 2] if detector.is_cut(index - 2) else []
    valid = start + LOCAL_WINDOW_BEFORE
    assert [cut for cut in found if cut >= valid] == [cut for cut in CUTS if cut >= valid]


def test_samples_are_those_of_a_run_in_order_and_within_one_code_value_after_a_seek() -> None:
    frames = film(48, 32)
    generator = load_generator("tiny-x4", None, None, 32)

    def build(spec: ColourSpec) -> Backend:
        return TorchBackend(generator, torch.device("cpu"), (spec, spec))

    server, backend = FrameServer(lambda n: frames[n], len(frames), build), build(SPEC)
    for index, (frame, is_cut) in enumerate(mark_cuts(as_frames(frames[:60]))):
        assert isinstance(frame, Frame)
        expected = backend.upscale(frame.planes, is_cut)
        for plane, right in zip(server.upscale(index).planes, expected, strict=True):
            np.testing.assert_array_equal(plane, right)
    sought = FrameServer(lambda n: frames[n], len(frames), build).upscale(59)
    for plane, right in zip(sought.planes, expected, strict=True):
        assert np.abs(plane.astype(int) - right).max() <= 1
