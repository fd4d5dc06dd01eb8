"""The text of one tool call, read while it is written and when it is whole.

    call = OpenCall()
    call.text += '{"name": "lookup", "arguments": {"place": "mi';  call.more()  ->  '{"place": "mi'
    call.text += 'll"}}';  call.more()   ->  'll"'
    call.whole()                         ->  ("lookup", '{"place": "mill"}')

What is given out early is the beginning of a JSON object word for word, and never all of it: its last bracket waits until
the call as a whole is known to be one. Numbers and escapes wait for their ends.
"""

import json
import re
from typing import Final

_MAX_HEAD_CHARS: Final = 1024  # with no name by then, the call is read when it is whole
_HEAD: Final = re.compile(r'\s*\{"name": ("(?:[^"\\]|\\.)*"), "arguments": (?=\{)')
_BLANK: Final = r"[ \t\n\r]*"
_NUMBER: Final = r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?"
_TOKEN: Final = re.compile(
    rf'{_BLANK}(?:([{{}}\[\]:,"])|(?:true|false|null|{_NUMBER})(?={_BLANK}[,\]}}]))', re.ASCII
)
_LETTERS: Final = re.compile(r'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_VALUE: Final = '"v{['  # how a value begins; "v" stands for numbers and names


class OpenCall:
    """A call that is being written: `text` grows by what is said between the marks. `name` is known once the arguments
    have begun in the layout of the template, `told` is what `more` has given out of them.
    """

    def __init__(self) -> None:
        self.text = ""
        self.name: str | None = None
        self.told = ""
        self._object = _ObjectReader()

    def more(self) -> str:
        """What is new of the arguments since the last time."""
        if self.name is None and len(self.text) <= _MAX_HEAD_CHARS:
            self._find_name()
        if self.name is None:
            return ""
        begun = self._object.at
        self._object.read(self.text)
        new = self.text[begun : self._object.at]
        self.told += new
        return new

    def whole(self) -> tuple[str, str] | None:
        """Name and arguments; None for a text that is no call, or another one than was told."""
        read = read_call(self.text)
        if read is None or self.name is None:
            return read
        return read if read[0] == self.name and read[1].startswith(self.told) else None

    def _find_name(self) -> None:
        head = _HEAD.match(self.text)
        name = _json(head[1]) if head else None
        if head and isinstance(name, str) and json.dumps(name, ensure_ascii=False) == head[1]:
            self.name, self._object.at = name, head.end()


class _ObjectReader:
    """Walks through a JSON object that comes in pieces: `at` is the place in the text up to which it is the beginning of
    one. It stays before the object's last bracket, and before the first fault.
    """

    def __init__(self) -> None:
        self.at = 0
        self._closing: list[str] = []  # the brackets that are open
        self._next = "{"  # what may come
        self._in_string = self._in_key = False

    def read(self, text: str) -> None:
        """Go on as far as possible."""
        while True:
            if self._in_string and not self._end_string(text):
                return
            token = _TOKEN.match(text, self.at)
            kind = (token[1] or "v") if token else ""
            if token is None or kind not in self._next or (kind == "}" and len(self._closing) == 1):
                return
            self.at = token.end()
            self._take(kind)

    def _end_string(self, text: str) -> bool:
        letters = _LETTERS.match(text, self.at)
        self.at = letters.end() if letters else self.at
        if not text.startswith('"', self.at):
            return False
        self.at += 1
        self._in_string = False
        self._next = ":" if self._in_key else self._after_value()
        return True

    def _take(self, kind: str) -> None:
        match kind:
            case '"':
                self._in_string, self._in_key = True, "v" not in self._next
            case "{":
                self._closing.append("}")
                self._next = '"}'
            case "[":
                self._closing.append("]")
                self._next = _VALUE + "]"
            case ":":
                self._next = _VALUE
            case ",":
                self._next = '"' if self._closing[-1] == "}" else _VALUE
            case "v":
                self._next = self._after_value()
            case _:
                self._closing.pop()
                self._next = self._after_value()

    def _after_value(self) -> str:
        return "," + self._closing[-1]


def read_call(text: str) -> tuple[str, str] | None:
    """Name and arguments of {"name": "...", "arguments": {...}}; None if the text is anything else, or could not be sent on
    as JSON in UTF-8.

    The arguments are word for word what stands there if the layout is the template's.
    """
    text = text.strip()
    call = _json(text)
    if not (isinstance(call, dict) and call.keys() == {"name", "arguments"}):
        return None
    name, arguments = call["name"], call["arguments"]
    if not (isinstance(name, str) and isinstance(arguments, dict)):
        return None
    try:
        written = _written(text, name, arguments)
        f"{name}{written}".encode()  # half a surrogate pair cannot be
    except (ValueError, RecursionError):
        return None
    return name, written


def _written(text: str, name: str, arguments: dict[str, object]) -> str:
    """The arguments of a call as they stand in its text, or laid out anew. ValueError for a number beyond any size."""
    head = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '
    verbatim = text[len(head) : -1]
    if text.startswith(head) and _json(verbatim) == arguments:
        return verbatim
    return json.dumps(arguments, ensure_ascii=False, allow_nan=False)


def _json(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
