"""Answers of any size as JSON, without holding up the event loop.

    large = num_values > LARGE_VALUES
    return await off_loop(large, json_response, content, in_pieces=large)

`json.dumps` is one call into C, during which no other thread runs, the event loop's neither, wherever it is called: a
second for a few million numbers. So a large value is written a piece at a time.
"""

import json
from typing import Any, Final

from starlette.responses import JSONResponse, Response

LARGE_VALUES: Final = 20_000  # numbers and strings; so many are written in some milliseconds
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumped(value: Any) -> str:
    """JSON without blanks, as `json.dumps` gives it."""
    return "".join(_ENCODER.iterencode(value))


def json_response(content: Any, *, in_pieces: bool) -> Response:
    """A JSON response; the same bytes either way."""
    return (_InPieces if in_pieces else JSONResponse)(content)


class _InPieces(JSONResponse):
    def render(self, content: Any) -> bytes:
        return dumped(content).encode("utf-8")
