"""Every error that liaoliao raises on purpose, in one tree.

    LiaoError                 catch this to catch them all
    ├── UsageError            a wrong flag, file or combination of options
    ├── ConfigError           a field that does not exist, or a value of the wrong kind
    ├── DataError             a row, message or file that is not what its format promises
    ├── TokenizerError        text that cannot be encoded, ids that cannot be decoded, a foreign vocabulary
    ├── TemplateError         a conversation that the chat template cannot render
    ├── CheckpointError       a model folder that is incomplete, corrupted or of an unknown kind
    ├── RequestError          a request that the engine cannot serve: prompt too long, bad sampling parameters
    ├── ToolError             a tool that is unknown, or was called with arguments it does not take
    └── TrainingError         a run that cannot go on

The lowest floor: everything may import it, it imports nothing. A message says what happened, where, and the
mend:

    ConfigError: optim.lrr is not a field; did you mean optim.lr?
"""


class LiaoError(Exception):
    """The root of the tree: a mistake that the person can mend, told in one or two clear sentences."""


class UsageError(LiaoError):
    """A wrong flag, file or combination of options."""


class ConfigError(LiaoError):
    """A field that does not exist, or a value of the wrong kind."""


class DataError(LiaoError):
    """A row, message or file that is not what its format promises."""


class TokenizerError(LiaoError):
    """Text that cannot be encoded, ids that cannot be decoded, or a vocabulary of a kind we do not read."""


class TemplateError(LiaoError):
    """A conversation that the chat template cannot render."""


class CheckpointError(LiaoError):
    """A model folder that is incomplete, corrupted or of an unknown kind."""


class RequestError(LiaoError):
    """A request that the engine cannot serve: a prompt too long, sampling parameters out of range."""


class ToolError(LiaoError):
    """A tool that is unknown, or was called with arguments it does not take."""


class TrainingError(LiaoError):
    """A run that cannot go on."""
