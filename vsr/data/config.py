"""Configuration of training data: the data set, its targets, and how clips are cut and degraded."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from vsr.config import Config
from vsr.imaging.degrade import Phase

TargetType = Literal["original", "taught", "sharpened", "agreeing"]


class SharpeningConfig(Config):
    """Unsharp mask of targets.

    By default that of Real-ESRGAN (Wang et al., 2021) and RealBasicVSR (Chan et al., 2022):
    `usm_sharp` with radius 50, weight 0.5 and threshold 10.
    """

    sigma: PositiveFloat = 8.0
    """Standard deviation of the Gaussian in pixels; OpenCV's choice for a kernel of 51 pixels."""
    amount: NonNegativeFloat = 0.5
    """Factor of the difference from the blurred picture that is added."""
    threshold: float = Field(default=10.0, ge=0, lt=255)
    """Difference in code values up to which nothing is added."""


class DegradationShares(Config):
    """Relative frequency of each degradation, and its parameters."""

    bi: NonNegativeFloat = 0.5
    """Antialiased bicubic."""
    bd: NonNegativeFloat = 0.15
    """Gaussian blur and subsampling."""
    codec: NonNegativeFloat = 0.2
    """Bicubic, then H.264 in 4:2:0 on the low-resolution clip."""
    real: NonNegativeFloat = 0.15
    """Blur, resizing, noise and JPEG, twice, then a codec."""
    web: NonNegativeFloat = 0.0
    """Uploads, DVDs and camcorders: blur, noise and a real codec, sometimes twice."""
    noisy: NonNegativeFloat = 0.0
    """Bicubic, then the noise of sensors in little light, without a codec."""
    noisy_sigma: PositiveFloat = 50.0
    """Largest standard deviation of `noisy` at white, in code values."""
    bd_sigma: PositiveFloat | None = None
    """Blur of `bd` in high-resolution pixels; by default 0.4 times the scale."""
    bd_phase: Phase = Phase.MIDDLE
    """Where `bd` samples: the "middle" of each cell, or its "first" pixel as in benchmarks."""
    codec_crf: tuple[int, int] = (16, 26)
    """Lowest and highest constant rate factor of `codec`."""
    real_strength: float = Field(default=0.5, gt=0, le=1)
    """Strength of `real`; 1 is the range that Real-ESRGAN trains on."""


class DataConfig(Config):
    """The data set to learn from, and how clips are cut from it."""

    dataset: Path
    """A folder written by `vsr data prepare`."""
    memory_gb: PositiveFloat = 8.0
    """Memory for decoded clips, over all worker processes; other clips are decoded each time."""
    motion_crop: PositiveInt = Field(default=64, multiple_of=2)
    """Side in low-resolution pixels of the pairs that train the motion network; large enough for
    the motion of films."""
    stills_share: float = Field(default=0.25, ge=0, le=1)
    """Share of clips rendered from a photograph under a moving camera."""
    micro_share: float = Field(default=0.05, ge=0, le=1)
    """Share of clips rendered from a photograph under a camera that moves by hundredths of a
    pixel."""
    static_share: float = Field(default=0.05, ge=0, le=1)
    """Share of clips without motion."""
    static_noise: NonNegativeFloat = 0.0
    """Largest standard deviation, in code values, of the independent noise added to each low frame
    of a clip without motion, so that the network's memory learns to average it away."""
    spliced_share: float = Field(default=0.03, ge=0, le=1)
    """Share of clips with a cut that the network is not informed of."""
    grey: bool = False
    """Whether clips are grey: the luma of the footage, in three equal channels."""
    degradation: DegradationShares = DegradationShares()
    targets: TargetType = "original"
    """Targets of the outputs: the "original" frames; a teacher's outputs ("taught", by `vsr data
    teach`); the "sharpened" originals; or "agreeing": taught where that agrees with the original by
    features, else sharpened. Photographs under a moving camera are never taught."""
    taught_by: str | None = None
    """Name or identity of the teacher, if the data set holds targets of several."""
    native_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the clips from films that use the targets of `vsr data teach --native`: their input
    is the stored frame, not degraded."""
    agreement: PositiveFloat = 0.15
    """Distance by features up to which a taught target counts as agreeing, see
    `data.agreement.feature_distance`."""
    sharpening: SharpeningConfig = SharpeningConfig()
    """Unsharp mask of the originals."""
