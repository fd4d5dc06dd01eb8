"""The JSON files of a model folder, read as what they are: other people's. What is wrong in one is a CheckpointError.

    read_json(folder / "lineage.json")["recipe"]      ->  "sft"
    stop_ids(read_generation(folder))                 ->  (151645, 151643)

Python's JSON knows NaN, infinities and integers of thousands of digits; no model has such a number.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from liaoliao.errors import CheckpointError

GENERATION_FILE: Final = "generation_config.json"
LARGEST_WHOLE: Final = 2**31 - 1
LARGEST: Final = 1e30


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder; CheckpointError says what is wrong with it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} has no {path.name}; is it a model folder?") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not {type(value).__name__}")
    return value


def is_whole(value: object) -> bool:
    """Whether a value is a whole number that a model could have; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_WHOLE


def is_number(value: object) -> bool:
    """Whether a value is a number that a model could have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_ids(value: object) -> bool:
    """Whether a value is a token id or a list of them."""
    return all(map(is_whole, value)) if isinstance(value, list) else is_whole(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


_OF_GENERATION: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "temperature": (is_number, "a number"),
    "top_p": (is_number, "a number"),
    "min_p": (is_number, "a number"),
    "repetition_penalty": (is_number, "a number"),
    "top_k": (is_whole, "a whole number"),
    "do_sample": (_is_flag, "true or false"),
    "eos_token_id": (is_ids, "a token id or a list of them"),
}


def read_generation(folder: Path) -> dict[str, Any]:
    """A folder's stop ids and sampling defaults (`generation_config.json`); {} where there are none."""
    path = folder / GENERATION_FILE
    values = read_json(path) if path.is_file() else {}
    for name, (check, kind) in _OF_GENERATION.items():
        if values.get(name) is not None and not check(values[name]):
            raise CheckpointError(f"{path}: {name} must be {kind}, got {values[name]!r:.60}")
    return values


def stop_ids(generation: Mapping[str, Any]) -> tuple[int, ...]:
    """The tokens that end a reply as `read_generation` gives them: none, one or several."""
    eos = generation.get("eos_token_id")
    return () if eos is None else tuple(eos) if isinstance(eos, list) else (eos,)
