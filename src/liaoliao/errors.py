"""Every error that liaoliao raises on purpose, in one tree.

    LiaoError                 catch this to catch them all
    ├── UsageError            a wrong flag, file or combination of options
    ├── ConfigError           a field that does not exist, or a value of the wrong kind
    ├── DataError             a row, message or file that is not what its format promises
    ├── TokenizerError        text that cannot be encoded, ids that cannot be decoded, a foreign vocabulary
    ├── TemplateError         a conversation that the chat template cannot render
    ├── CheckpointError       a model folder that is incomplete, corrupted or of an unknown kind
    ├── RequestError          a request that the engine cannot serve: bad sampling parameters, a bad schema
    │   └── ContextLengthError    a prompt that does not fit the model's context
    ├── OverloadedError       the engine's queue is full; the same request may succeed later
    ├── NotFoundError         something that is not there, or is somebody else's: which of the two is not told
    ├── StoreError            the database cannot be reached, is full, or is kept busy by others
    ├── ToolError             a tool that is unknown, or was called with arguments it does not take
    └── TrainingError         a run that cannot go on

The lowest floor: everything may import it, it imports nothing. A message says what happened, where, and the
mend:

    ConfigError: optim.lrr is not a field; did you mean optim.lr?
"""


class LiaoError(Exception):
    """The root of the tree: a mistake that the person can mend, told in one or two clear sentences. `code` is a short
    name of the mistake where the page has words for it in the reader's language (web/src/lib/i18n/errors.ts).
    """

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


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
    """A request that the engine cannot serve: sampling parameters out of range, a schema it cannot follow."""


class ContextLengthError(RequestError):
    """A prompt of `num_tokens` tokens that does not fit a context of `max_length`, reply included."""

    def __init__(self, message: str, *, num_tokens: int, max_length: int) -> None:
        super().__init__(message)
        self.num_tokens, self.max_length = num_tokens, max_length


class OverloadedError(LiaoError):
    """The queue is full: the same request may succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotFoundError(LiaoError):
    """Something that is not there, or is somebody else's: which of the two is not told."""


class StoreError(LiaoError):
    """The database cannot be reached, is full, or is kept busy by others; nothing of the change was kept."""


class ToolError(LiaoError):
    """A tool that is unknown, or was called with arguments it does not take."""


class TrainingError(LiaoError):
    """A run that cannot go on."""
