import numpy as np
import pytest
import torch

from tests.helpers.films import scenes
from tests.helpers.planes import planes_of
from vsr.data.clip_codec import decode_clip, encode_clip, encode_lossless, recompress


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


@pytest.mark.parametrize("size", [(64, 48), (66, 50)])
def test_what_is_kept_is_nearly_what_was_given(size: tuple[int, int]) -> None:
    planes = planes_of(scenes(*size, [9]))
    kept = decode_clip(encode_clip(planes))
    assert [plane.shape for plane in kept] == [plane.shape for plane in planes]
    assert psnr(kept[0], planes[0]) > 47
    assert psnr(kept[1], planes[1]) > 45


def test_keeping_takes_far_less_room_than_the_samples() -> None:
    planes = planes_of(scenes(160, 120, [20]))
    assert len(encode_clip(planes)) < sum(plane.size for plane in planes) / 2.5


@pytest.mark.parametrize(("codec", "levels"), [("h264", (10, 25, 40)), ("mpeg4", (2, 8, 25))])
def test_compressing_harder_loses_more(codec: str, levels: tuple[int, ...]) -> None:
    planes = planes_of(scenes(64, 48, [4]))
    quality = [psnr(recompress(planes, codec, level)[0], planes[0]) for level in levels]  # type: ignore[arg-type]
    assert quality == sorted(quality, reverse=True)
    assert quality[0] - quality[-1] > 5


def test_compressing_is_the_same_every_time() -> None:
    planes = planes_of(scenes(64, 48, [4]))
    once, again = recompress(planes, "h264", 25), recompress(planes, "h264", 25)
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert torch.from_numpy(once[0]).dtype is torch.uint8


def test_lossless_clips_are_what_was_given() -> None:
    planes = planes_of(scenes(66, 50, [5]))
    kept = decode_clip(encode_lossless(planes))
    assert all(np.array_equal(a, b) for a, b in zip(kept, planes, strict=True))


def test_lossless_clips_are_the_same_bytes_every_time() -> None:
    planes = planes_of(scenes(66, 50, [5]))
    assert encode_lossless(planes) == encode_lossless(planes)
