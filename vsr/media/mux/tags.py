"""Tags of files and streams: those to copy, and those that a container can't hold."""

from av.container import InputContainer
from av.stream import Stream

_FILE_TAGS = (
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "vendor_id",
    "duration",
)
_STATISTICS_TAGS = ("bps", "number_of_", "_statistics_", "duration")
# fmt: off
_TAGS_OF_MP4 = frozenset(
    {
        "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre",
        "copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id",
        "network", "keywords", "creation_time", "timecode", "track",
    }
)
# fmt: on
_STREAM_TAGS_OF_MP4 = frozenset({"language", "title", "handler_name", "creation_time", "timecode"})


def global_tags(source: InputContainer) -> dict[str, str]:
    """Return a file's tags, except those about that file alone."""
    return {k: v for k, v in source.metadata.items() if k.lower() not in _FILE_TAGS}


def stream_tags(stream: Stream) -> dict[str, str]:
    """Return a stream's tags, except those about its file or its packets alone."""
    tags = {
        key: value
        for key, value in stream.metadata.items()
        if key.lower() not in _FILE_TAGS and not key.lower().startswith(_STATISTICS_TAGS)
    }
    if "name" in tags and stream.type != "attachment":  # MP4's tag for the title
        tags["title"] = tags.pop("name")
    return tags


def free_tags(source: InputContainer) -> list[str]:
    """List the names of a file's tags that aren't among MP4's standard ones."""
    return [key for key in global_tags(source) if key.lower() not in _TAGS_OF_MP4]


def tags_left_out(stream: Stream, suffix: str) -> list[str]:
    """List tags of a stream that a container can't hold, one line each."""
    if suffix not in (".mp4", ".mov"):
        return []
    return [
        f"tag {key} of stream {stream.index}: {suffix} can't hold it, .mkv can"
        for key in stream_tags(stream)
        if key.lower() not in _STREAM_TAGS_OF_MP4
    ]
