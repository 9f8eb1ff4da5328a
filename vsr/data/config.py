"""Configuration of training data: what to learn from and how clips are cut and degraded."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from vsr.config import Config
from vsr.imaging.degrade import Phase

TargetKind = Literal["original", "taught", "sharpened", "agreeing"]


class SharpeningConfig(Config):
    """An unsharp mask; by default that of Real-ESRGAN (Wang et al., 2021) and RealBasicVSR (Chan et
    al., 2022): `usm_sharp` with radius 50, weight 0.5 and threshold 10.
    """

    sigma: PositiveFloat = 8.0
    """Of the Gaussian, in pixels; OpenCV's choice for a kernel of 51 pixels."""
    amount: NonNegativeFloat = 0.5
    """How much of the difference from the blurred picture is added."""
    threshold: float = Field(default=10.0, ge=0, lt=255)
    """Difference in code values up to which nothing is added."""


class DegradationShares(Config):
    """How often each degradation is used, and with what; the shares are relative."""

    bi: NonNegativeFloat = 0.5
    """Antialiased bicubic."""
    bd: NonNegativeFloat = 0.15
    """Gaussian blur and subsampling."""
    codec: NonNegativeFloat = 0.2
    """Bicubic, then H.264 on the low-resolution clip, with the chroma of video."""
    real: NonNegativeFloat = 0.15
    """Blur, resizing, noise and JPEG, twice, then a codec."""
    web: NonNegativeFloat = 0.0
    """What uploads, DVDs and camcorders do: blur, noise and a real codec, sometimes twice."""
    bd_sigma: PositiveFloat | None = None
    """Blur of `bd` in high-resolution pixels; 0.4 times the scale if not given."""
    bd_phase: Phase = Phase.MIDDLE
    """Where `bd` samples: "middle" of each cell, or its "first" pixel as in benchmarks."""
    codec_crf: tuple[int, int] = (16, 26)
    """Lowest and highest constant rate factor of `codec`."""
    real_strength: float = Field(default=0.5, gt=0, le=1)
    """How far `real` goes; 1 is what Real-ESRGAN trains on."""


class DataConfig(Config):
    """What to learn from, and how clips are cut from it."""

    dataset: Path
    """A folder made by `vsr data prepare`."""
    memory_gb: PositiveFloat = 8.0
    """Decoded clips that are kept in memory, over all worker processes; the others are decoded
    again."""
    motion_crop: PositiveInt = Field(default=64, multiple_of=2)
    """Side, in low-resolution pixels, of the pairs that teach motion: room for the
    motion that films have."""
    stills_share: float = Field(default=0.25, ge=0, le=1)
    """Clips made of a photograph under a moving camera, of all clips."""
    micro_share: float = Field(default=0.05, ge=0, le=1)
    """Clips made of a photograph under a camera that moves by hundredths of a pixel."""
    static_share: float = Field(default=0.05, ge=0, le=1)
    """Clips in which nothing moves."""
    static_noise: NonNegativeFloat = 0.0
    """Of clips in which nothing moves, the largest standard deviation of noise, in code values,
    that is added to each low frame anew: so that memory learns to average it away."""
    spliced_share: float = Field(default=0.03, ge=0, le=1)
    """Clips with a cut in their midst that nobody tells the network of."""
    degradation: DegradationShares = DegradationShares()
    targets: TargetKind = "original"
    """What outputs are compared with: the "original"; what a teacher made of it ("taught", by `vsr
    data teach`); the "sharpened" original; or taught where that agrees with the original by
    features, else sharpened ("agreeing"). Photographs under a camera are never taught."""
    taught_by: str | None = None
    """Name or identity of the teacher, if the data set holds targets of several."""
    native_share: float = Field(default=0.0, ge=0, le=1)
    """Of scenes of films, the share that `vsr data teach --native` taught: their input is the
    stored frame as it is."""
    agreement: PositiveFloat = 0.15
    """Distance by features up to which a taught target counts as agreeing, see
    `data.targets.feature_distance`."""
    sharpening: SharpeningConfig = SharpeningConfig()
    """How originals are sharpened."""
