"""What the server says about itself: a line of JSON for each event, one event for each request.

    {"time": "2026-11-23T21:30:00.123Z", "level": "info", "event": "request", "id": "req_…", "key": "anna",
     "method": "POST", "route": "/v1/chat/completions", "status": 200, "ms": 812, "tokens": 57}

Never what was said: no prompt, reply, key, query or foreign header is ever put into a line, and of an unforeseen
exception only its kind and place are told (its message, which may quote the request, at level debug alone).

Lines are written by a thread of their own: a reader of our output that falls asleep costs lines, never replies.
"""

import json
import logging
import logging.handlers
import queue
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from liaoliao.server.settings import LogLevel

REQUESTS = logging.getLogger("liaoliao.server.requests")
_MAX_QUEUED = 10_000
_LAST_WORDS_S = 2.0  # for the lines that are still queued at the end
_LOGGERS = ("liaoliao", "uvicorn")


@runtime_checkable
class Output(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Pass it on."""


def log_request(**facts: Any) -> None:
    """One line about a request that has ended; what is None is left out."""
    told = {name: value for name, value in facts.items() if value is not None}
    REQUESTS.info("request", extra={"facts": told})


class JsonFormatter(logging.Formatter):
    """A log record as a line of JSON; with `messages` also what exceptions say, which may quote a request."""

    def __init__(self, *, messages: bool = False) -> None:
        super().__init__()
        self.messages = messages

    def format(self, record: logging.LogRecord) -> str:
        """The record's time, level, words and facts."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at.replace("+00:00", "Z"), "level": record.levelname.lower()}
        line["event"] = record.getMessage()
        line.update(getattr(record, "facts", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_told(record.exc_info[1]))
            line.update({"message": str(record.exc_info[1])} if self.messages else {})
        return json.dumps(line, ensure_ascii=False, default=str)


def _told(error: BaseException) -> dict[str, Any]:
    """An exception's kind and the way to it, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    at = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "at": at}


class _Lossy(logging.handlers.QueueHandler):
    """Hands records to the writing thread; where that cannot keep up they are dropped and counted."""

    num_dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """As it is: the standard one would format the traceback here."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue, never wait."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.num_dropped += 1


class _Writer(logging.StreamHandler[Output]):
    """Writes lines; an output that is gone or full is nobody's business but its reader's."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's own name)
        """Go on without the line."""


def _write(handler: _Lossy, writer: _Writer) -> None:
    """The writing thread: to the end of the queue, which is None."""
    while (record := handler.queue.get()) is not None:
        writer.handle(record)
        dropped, handler.num_dropped = handler.num_dropped, 0
        if dropped:
            facts = {"msg": "lines dropped", "levelname": "WARNING", "facts": {"num_lines": dropped}}
            writer.handle(logging.makeLogRecord(facts))


@contextmanager
def logging_to(stream: Output, level: LogLevel) -> Iterator[None]:
    """Send what our loggers and uvicorn's say to a stream, as JSON lines, while the context lasts."""
    writer = _Writer(stream)
    writer.setFormatter(JsonFormatter(messages=level == "debug"))
    handler = _Lossy(queue.Queue(_MAX_QUEUED))
    thread = threading.Thread(target=_write, args=(handler, writer), name="log", daemon=True)
    thread.start()
    try:
        with _handled_by(handler, level):
            yield
    finally:
        with suppress(queue.Full):
            handler.queue.put_nowait(None)
            thread.join(_LAST_WORDS_S)


@contextmanager
def _handled_by(handler: logging.Handler, level: LogLevel) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
    # uvicorn tells of its own start and stop what `serve` tells better.
    loggers[1].setLevel(max(logging.WARNING, loggers[1].level))
    try:
        yield
    finally:
        for logger, (old, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old)
            logger.propagate = propagate
