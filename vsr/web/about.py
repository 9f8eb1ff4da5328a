"""What this server can do: models, profiles, formats, limits."""

from functools import cache

from vsr import __version__
from vsr.config import Config
from vsr.web.settings import Limits, ServerSettings


class ModelAbout(Config):
    """An included model."""

    name: str
    """Its name."""
    scale: int
    """Output size over input size."""
    quality: str | None
    """`fast` or `best` if it is a model of that quality."""
    default_detail: float
    """Detail if none is given."""
    has_twin: bool
    """Whether detail above 0 is possible."""
    summary: str
    """What it is trained for."""
    cost: str
    """What it computes for each pixel of the film, in one line."""


class ProfileAbout(Config):
    """An included profile."""

    name: str
    """Its name."""
    summary: str
    """What it is for."""


class ScreenAbout(Config):
    """A size that an output can fit into."""

    name: str
    """Its name."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


class CodecAbout(Config):
    """A video codec."""

    name: str
    """Its name."""
    containers: list[str]
    """Containers that hold it."""
    default_crf: int | None
    """Constant rate factor if none is given; null for a codec without one."""
    most_crf: int
    """Largest constant rate factor."""
    presets: list[str]
    """Presets, the fastest first."""
    default_preset: str
    """Preset if none is given."""


class Device(Config):
    """Where models are computed."""

    name: str
    """The GPU, or the processor and its threads."""


class About(Config):
    """What a server can do."""

    version: str
    """Version of vsr."""
    models: list[ModelAbout]
    """Included models without the twins of others, the fastest first."""
    profiles: list[ProfileAbout]
    """Included profiles."""
    screens: list[ScreenAbout]
    """Sizes of the output by name."""
    containers: list[str]
    """Formats of the output, the default first."""
    codecs: list[CodecAbout]
    """Video codecs, the default first."""
    roots: list[str]
    """Names of the folders."""
    limits: Limits
    """Limits of what clients can ask for."""


def describe_server(settings: ServerSettings) -> About:
    """Describe a server. Imports the engine's options without torch; call it in a thread."""
    from vsr.engine.output_size import SCREENS
    from vsr.engine.profile import list_profiles

    return About(
        version=__version__,
        models=_models(),
        profiles=[ProfileAbout(name=k, summary=v) for k, v in list_profiles().items()],
        screens=[ScreenAbout(name=k, width=v[0], height=v[1]) for k, v in SCREENS.items()],
        containers=["mp4", "mov", "mkv", "webm"],
        codecs=_codecs(),
        roots=list(settings.all_roots),
        limits=settings.limits,
    )


@cache
def _models() -> list[ModelAbout]:
    from vsr.zoo import QUALITIES, list_models

    cards = sorted(list_models(), key=lambda card: (card.multiplies_per_pixel, card.name))
    names = {card.name for card in cards}
    qualities = {
        f"{family}-x{scale}": quality for quality, family in QUALITIES.items() for scale in (2, 4)
    }
    return [
        ModelAbout(
            name=card.name,
            scale=card.scale,
            quality=qualities.get(card.name),
            default_detail=card.default_detail,
            has_twin=f"{card.name}-gan" in names,
            summary=card.summary,
            cost=f"{card.multiplies_per_pixel / 1000:.0f} thousand multiplications a pixel",
        )
        for card in cards
        if not card.name.endswith("-gan")
    ]


def _codecs() -> list[CodecAbout]:
    from vsr.media.encode.codecs import ENCODED, ON_CPU

    return [
        CodecAbout(
            name=name,
            containers=sorted(suffix.removeprefix(".") for suffix in ON_CPU[name].containers),
            default_crf=ON_CPU[name].crf,
            most_crf=ON_CPU[name].max_crf,
            presets=list(ON_CPU[name].presets),
            default_preset=ON_CPU[name].default_preset,
        )
        for name in ENCODED
    ]
