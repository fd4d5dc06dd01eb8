"""Loading models while others are being talked to: in threads, and nothing that is not whole.

    before = load_first(candidates, "run:town", options)       # the newest that is intact
    loaded = load_next(folder, before, options)                # its successor: new weights for the same engine, if it fits

A checkpoint that is being written has no name yet; one that was cut by a kill, or damaged, does not pass its manifest.
One that its run removes while it is being read fails like those, and the next one is taken.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from liaoliao.chat.assistant import check_vocabulary, load_text
from liaoliao.engine.load import RunnerDtype, load_runner
from liaoliao.engine.runner import Runner
from liaoliao.errors import LiaoError
from liaoliao.model.checkpoint import load_generation, locate, version_of
from liaoliao.server.served import ServedModel, served_model

_LOG: Final = logging.getLogger(__name__)
_TEXT_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How models are loaded and kept. `max_runs` of the models of runs are held at once; one that nobody has talked to
    for `idle_s` is dropped. Names are looked up anew every `every_s`.
    """

    dtype: RunnerDtype = "auto"
    device: str = "auto"
    max_running: int = 64
    max_waiting: int = 256
    speculate: int | None = None
    max_runs: int = 2
    idle_s: float = 600.0
    every_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model as it is served. `text` tells its tokenizer and template from others, as they were when it was loaded;
    with a `runner` only the weights are new, and it is up to the engine to take them.
    """

    served: ServedModel
    text: str
    runner: Runner | None = None


def load_first(folders: Iterable[Path], model_id: str, options: LoadOptions) -> Loaded | None:
    """The first of these models that can be loaded; None where none can. The log tells why others could not."""
    for folder in folders:
        try:
            return load_served(folder, model_id, options)
        except (LiaoError, OSError) as error:
            _LOG.warning("%s: %s is not served: %s", model_id, folder, error)
    return None


def load_served(folder: Path, model_id: str, options: LoadOptions) -> Loaded:
    """The model in a folder, to be served under this id. Raises LiaoError and OSError."""
    text = text_digest(folder)
    served = served_model(
        folder,
        dtype=options.dtype,
        device=options.device,
        max_running=options.max_running,
        max_waiting=options.max_waiting,
        speculate=options.speculate,
    )
    return Loaded(replace(served, id=model_id), text)


def load_next(folder: Path, before: Loaded, options: LoadOptions) -> Loaded:
    """What is to be served in place of `before`: with the same engine where tokenizer and template are the same, else
    with one of its own. Raises LiaoError and OSError.
    """
    if text_digest(folder) != before.text:
        return load_served(folder, before.served.id, options)
    runner = load_runner(folder, dtype=options.dtype, device=options.device)
    text = load_text(folder)
    check_vocabulary(folder, text.tokenizer, runner.vocab_size)
    served = replace(
        before.served,
        created=int((locate(folder) / "config.json").stat().st_mtime),
        tools=text.tools,
        defaults=text.defaults,
        folder=folder,
        version=version_of(folder),
    )
    return Loaded(served, before.text, runner)


def text_digest(folder: Path) -> str:
    """Tells tokenizer, template and stop tokens from others. Raises LiaoError and OSError."""
    whole = hashlib.sha256(repr(load_generation(folder).get("eos_token_id")).encode())
    for name in _TEXT_FILES:
        path = locate(folder) / name
        whole.update(path.read_bytes() if path.is_file() else b"\0")
    return whole.hexdigest()
