"""Encoder threads: the same bytes whatever the cores of the process."""

import pytest

from vsr.media.encode.settings import EncoderSettings
from vsr.media.encode.threads import encoder_threads, with_encoder_threads


@pytest.mark.parametrize(
    ("cores", "height", "threads"),
    [(1, 1080, 1), (2, 1080, 3), (8, 1080, 12), (64, 1080, 34), (8, 32, 1), (8, 64, 2)],
)
def test_x264_gets_the_threads_that_it_would_choose(cores: int, height: int, threads: int) -> None:
    assert encoder_threads(EncoderSettings(), height, cores) == threads


def test_threads_are_left_to_the_user_and_to_encoders_that_do_not_depend_on_them() -> None:
    assert encoder_threads(EncoderSettings(options={"threads": "2"}), 1080, 8) is None
    assert encoder_threads(EncoderSettings("ffv1"), 1080, 8) is None
    assert with_encoder_threads(EncoderSettings("ffv1"), None) == EncoderSettings("ffv1")


def test_x265_has_a_fixed_count_of_frame_threads() -> None:
    counts = [encoder_threads(EncoderSettings("hevc"), 1080, cores) for cores in (1, 4, 8, 64)]
    assert counts == [1, 2, 3, 5]
    assert with_encoder_threads(EncoderSettings("hevc"), 2).options == {"threads": "2"}
