"""Taking one's talks along: everything of an account as JSON, and talks from such a file or from ChatGPT's export.

    data = store.export_account(account.id)              # {"format": "liaoliao/1", …}: json.dump it
    store.import_conversations(other.id, data)           ->  ImportReport(num_conversations=12, …, skipped=())

An import adds: whatever it finds gets new ids, and importing twice gives every conversation twice. A persona that is
there already, just as it is in the file, is not made again: a long list comes in pieces that all name it. Each
conversation comes over whole or not at all, and what does not is named in the report.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection

from liaoliao.config import from_json
from liaoliao.errors import ConfigError, DataError, LiaoError
from liaoliao.store.accounts import account_of
from liaoliao.store.base import Part
from liaoliao.store.chatgpt import read_chatgpt
from liaoliao.store.database import told
from liaoliao.store.exporting import export_of
from liaoliao.store.importing import Importer
from liaoliao.store.records import ImportReport
from liaoliao.store.wire import FORMAT, ExportedAttachment, ExportedConversation, ExportedPersona

MAX_SKIPPED = 1000  # lines of a report
_AT_ONCE = 50  # conversations in one transaction: others may write in between
T = TypeVar("T")


class Porting(Part):
    """Export and import."""

    def export_account(self, account_id: str) -> dict[str, Any]:
        """Everything that the account has, as JSON values. Raises NotFoundError for an unknown account."""
        with self._database.read() as connection:
            return export_of(connection, account_of(connection, account_id), time.time())

    def import_conversations(self, account_id: str, data: object) -> ImportReport:
        """Add the conversations of a parsed JSON file: ours, or ChatGPT's `conversations.json`. Raises NotFoundError
        for an unknown account and DataError for a file that is neither.
        """
        skipped = _Skipped()
        talks = iter(_talks(data, skipped))
        importer = Importer(account_id, *_belongings(data, skipped), skipped.note)
        with self._database.write() as connection:
            account_of(connection, account_id)
            importer.keep_personas(connection)
        while some := list(islice(talks, _AT_ONCE)):
            with self._database.write() as connection:
                for label, talk in some:
                    _keep(connection, importer, label, talk, skipped)
        return ImportReport(importer.num_conversations, importer.num_messages, skipped.lines())


class _Skipped:
    """What was left out, a line each, and no more lines than anybody reads."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def note(self, line: str) -> None:
        """Add a line."""
        if len(self._lines) < MAX_SKIPPED:
            self._lines.append(line[:500].encode("utf-8", "replace").decode("utf-8"))  # it may quote anything
        else:
            self._more += 1

    def lines(self) -> tuple[str, ...]:
        """All of them."""
        return (*self._lines, *([f"and {self._more} more"] if self._more else []))


def _keep(
    connection: Connection, importer: Importer, label: str, talk: ExportedConversation, skipped: _Skipped
) -> None:
    try:
        with told(), connection.begin_nested():
            importer.keep(connection, label, talk)
    except DataError as error:
        skipped.note(f"{label}: {error}")


def _talks(data: object, skipped: _Skipped) -> Iterator[tuple[str, ExportedConversation]]:
    """The conversations of a file, each with the name that a report calls it by. Raises DataError at once for a file
    of a kind that we do not read.
    """
    if isinstance(data, dict) and data.get("format") == FORMAT:
        return _ours(_list(data, "conversations"), skipped)
    if isinstance(data, dict) and "mapping" in data:
        return _theirs([data], skipped)
    if isinstance(data, list) and (
        not data or any(isinstance(talk, dict) and "mapping" in talk for talk in data)
    ):
        return _theirs(data, skipped)
    why = f"neither an export of ours (format {FORMAT!r}) nor ChatGPT's conversations.json"
    raise DataError(why, code="no_export")


def _ours(talks: Iterable[object], skipped: _Skipped) -> Iterator[tuple[str, ExportedConversation]]:
    for number, data in enumerate(talks, start=1):
        label = _label(number, data)
        talk = _read(ExportedConversation, data, label, skipped)
        if talk is not None:
            yield label, talk


def _theirs(talks: Iterable[object], skipped: _Skipped) -> Iterator[tuple[str, ExportedConversation]]:
    for number, data in enumerate(talks, start=1):
        label = _label(number, data)
        try:
            if not isinstance(data, dict):
                raise DataError(f"expected an object, got {type(data).__name__}")
            talk, left_out = read_chatgpt(data)
        except DataError as error:
            skipped.note(f"{label}: {error}")
            continue
        for kind, count in left_out.items():
            skipped.note(f"{label}: {count} x {kind}")
        yield label, talk


def _belongings(
    data: object, skipped: _Skipped
) -> tuple[dict[str, ExportedPersona], dict[str, ExportedAttachment]]:
    """The personas and attachments of a file of ours, by their ids there."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        return {}, {}
    personas = [_read(ExportedPersona, each, "a persona", skipped) for each in _list(data, "personas")]
    files = [_read(ExportedAttachment, each, "an attachment", skipped) for each in _list(data, "attachments")]
    return {each.id: each for each in personas if each}, {each.id: each for each in files if each}


def _read(cls: type[T], data: object, label: str, skipped: _Skipped) -> T | None:
    try:
        if not isinstance(data, Mapping):
            raise ConfigError(f"expected an object, got {type(data).__name__}")
        return from_json(cls, data)
    except (
        LiaoError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # numbers of any size, depths of any kind
        skipped.note(f"{label}: {error}")
        return None


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise DataError(f"{key}: expected a list, got {type(value).__name__}", code="no_export")
    return value


def _label(number: int, data: object) -> str:
    title = data.get("title") if isinstance(data, dict) else None
    return f"conversation {number}" + (f" ({title[:60]})" if isinstance(title, str) and title else "")
