"""The errors that a user can cause. Each says what, where and what to do, in one line.

    VsrError
    ├── ConfigError (ValueError)        a configuration key or value
    ├── MediaError (ValueError)         a file that is missing, broken or of the wrong kind
    │   └── OutputError                 an output that can't or mustn't be written
    ├── ModelError (ValueError)         a model name or model file
    ├── DataError (ValueError)          footage or a data set that can't be used
    ├── TrainingError (RuntimeError)    a checkpoint or numbers that training can't go on from
    └── Interrupted                     a run that was asked to stop, and can go on

A bug is none of these: it keeps its traceback.
"""


class VsrError(Exception):
    """Base of every error that is the user's to mend."""


class ConfigError(VsrError, ValueError):
    """A configuration names an unknown key or holds a bad value."""


class MediaError(VsrError, ValueError):
    """A picture or film can't be read."""


class OutputError(MediaError):
    """A picture or film can't be written, or would overwrite something."""


class ModelError(VsrError, ValueError):
    """A model can't be found, or its file isn't one of ours."""


class DataError(VsrError, ValueError):
    """Footage can't be found, or a data set can't be read or used."""


class TrainingError(VsrError, RuntimeError):
    """Training can't start or go on."""


class Interrupted(VsrError):
    """A run stopped when it was asked to; the same command goes on."""
