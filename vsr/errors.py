"""Errors that a user can cause. Each message says what, where and what to do, in one line.

    VsrError
    ├── ConfigError (ValueError)        a configuration key or value
    ├── MediaError (ValueError)         a file that is missing, broken or of the wrong type
    │   └── OutputError                 an output that can't be written, or exists
    ├── ModelError (ValueError)         a model name or model file
    ├── DataError (ValueError)          footage or a data set that can't be used
    ├── TrainingError (RuntimeError)    a checkpoint or values from which training can't continue
    └── Interrupted                     a run that was asked to stop, and can be resumed

Bugs keep their traceback.
"""


class VsrError(Exception):
    """Base of the errors that the user can fix."""


class ConfigError(VsrError, ValueError):
    """A configuration has an unknown key or an invalid value."""


class MediaError(VsrError, ValueError):
    """A picture or film can't be read."""


class OutputError(MediaError):
    """A picture or film can't be written, or would overwrite something."""


class ModelError(VsrError, ValueError):
    """A model can't be found, or its file isn't a vsr model."""


class DataError(VsrError, ValueError):
    """Footage can't be found, or a data set can't be read or used."""


class TrainingError(VsrError, RuntimeError):
    """Training can't start or continue."""


class Interrupted(VsrError):
    """A run stopped on request; the same command resumes it."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none.

    The second line is appended to a first line that ends in a colon.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
