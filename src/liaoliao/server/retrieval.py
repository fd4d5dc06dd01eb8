"""A model made for retrieval beside the one that talks: texts in, vectors by the sentence-transformers library out.

    model = load_retrieval(Path("bge-small-zh-v1.5"))                 # nothing is downloaded, no code of the folder is run
    vectors, num_tokens = await model.embed(["the cat", "猫"])        # (2, D): what the library's `encode` gives
    model.close()

The library's objects serve one thread at a time, so all work is done by a single thread, a batch at a time: requests take
turns, and one whose client has left is not gone on with. PyTorch is left with the threads that the engine has left it
(`engine.cpu`: one), so that the threads which decode keep their cores.
"""

import asyncio
import importlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.errors import ContextLengthError, OverloadedError, RequestError, UsageError

_T = TypeVar("_T")

_LIBRARY: Final = "sentence_transformers"
# Before it a folder's settings could name code to be run, and nothing told that a text was cut off.
_LEAST_VERSION: Final = 6
# What a folder may be made of. The library would import any other class that `modules.json` names, from the folder, too.
_KINDS: Final = frozenset(
    {"Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout", "WeightedLayerPooling"}
)
# What the folder's own settings cannot change: they may ask for a pickle to be read with all its code.
_SAFE: Final = {"use_safetensors": True, "weights_only": True}
_MOST_TOKENS: Final = 32768  # of a text, where the model knows no bound
_MOST_CHARS: Final = 16  # a token, in the beginning of a text by which one that is far too long is known
_BATCH_TOKENS: Final = 4096  # padding counted
_BATCH_TEXTS: Final = 32
_RETRY_S: Final = 2.0


class RetrievalModel:
    """A model of the library, served under an id. `created` is in seconds of Unix time; `max_length` counts the tokens of
    a text, special ones and the model's own prompt included. At most `max_waiting` requests wait for their turn.
    """

    def __init__(self, model: Any, *, id: str, created: int, max_waiting: int = 256) -> None:
        self.id, self.created = id, created
        self.max_length = min(model.max_seq_length or _MOST_TOKENS, _MOST_TOKENS)
        self._model, self._max_waiting, self._num_open = model, max_waiting, 0
        self._prompt = model.prompts[model.default_prompt_name] if model.default_prompt_name else None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="liaoliao-retrieval")

    async def embed(
        self, texts: Sequence[str], *, charge: Callable[[int], None] = lambda num_tokens: None
    ) -> tuple[Float[Tensor, "B D"], int]:
        """The vector of each text, and how many tokens they have. Vectors that are to be compared by their angle have
        length 1; those of a model made for another comparison are as they are. `charge` is told of the tokens of each batch
        before it is read.

        Raises ContextLengthError for a text that is too long, RequestError for one in which the model finds nothing to
        read, and OverloadedError while too many requests wait, or once it is closed.
        """
        with self._counted():
            lengths: list[int] = []
            for first in range(0, len(texts), _BATCH_TEXTS):
                lengths += await self._call(self._lengths, texts[first : first + _BATCH_TEXTS])
                self._check(lengths)
            rows: dict[int, Tensor] = {}
            for batch in _batches(lengths):
                charge(sum(lengths[index] for index in batch))
                vectors = await self._call(self._vectors, [texts[index] for index in batch])
                rows.update(zip(batch, vectors, strict=True))
        return torch.stack([rows[index] for index in range(len(texts))]), sum(lengths)

    def close(self) -> None:
        """Stop after the present batch. Whoever still waits gets OverloadedError, so drain first."""
        self._closed = True
        self._thread.shutdown(wait=False)

    async def _call(self, work: Callable[[Sequence[str]], _T], texts: Sequence[str]) -> _T:
        """Have the thread do something when it is our turn."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._turn, work, texts)

    def _turn(self, work: Callable[[Sequence[str]], _T], texts: Sequence[str]) -> _T:
        self._check_open()  # it may have been closed meanwhile
        return work(texts)

    def _check_open(self) -> None:
        if self._closed:
            raise OverloadedError("the server is shutting down", retry_after_s=_RETRY_S)

    def _check(self, lengths: Sequence[int]) -> None:
        if (longest := max(lengths)) > self.max_length:
            told = f"a text has {longest} tokens, and {self.id} reads {self.max_length}"
            raise ContextLengthError(told, num_tokens=longest, max_length=self.max_length)
        if min(lengths) == 0:
            raise RequestError(f"a text has no tokens in the vocabulary of {self.id}: it may be blank")

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model will read it, nothing cut off. Where its beginning alone is too long, those are
        enough: the whole might keep the thread busy for half a minute.
        """
        most = _MOST_CHARS * self.max_length
        begins = [self._length(text[:most]) for text in texts]
        return [
            begin if len(text) <= most or begin > self.max_length else self._length(text)
            for begin, text in zip(begins, texts, strict=True)
        ]

    def _length(self, text: str) -> int:
        whole = {"text": {"truncation": False, "verbose": False}}
        read = self._model.preprocess([text], prompt=self._prompt, processing_kwargs=whole)
        return int(read["input_ids"].shape[-1])

    def _vectors(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        vectors: Tensor = self._model.encode(
            list(texts),
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_tensor=True,
            normalize_embeddings=self._model.similarity_fn_name == "cosine",
        )
        return vectors.float().cpu()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._num_open > self._max_waiting:
            told = f"{self._max_waiting} requests are waiting for {self.id} already; try again later"
            raise OverloadedError(told, retry_after_s=_RETRY_S)
        self._num_open += 1
        try:
            yield
        finally:
            self._num_open -= 1


def load_retrieval(folder: Path, *, max_waiting: int = 256) -> RetrievalModel:
    """The model in a folder of the library, under the folder's name, on a GPU where there is one. Raises UsageError as
    `check_retrieval` does, and for a folder that the library cannot load.
    """
    folder = check_retrieval(folder)
    library = _offline_library()
    try:
        model = library.SentenceTransformer(str(folder), local_files_only=True, model_kwargs=dict(_SAFE))
        model.encode(["a"], show_progress_bar=False)  # what does not fit together shows here
    except Exception as error:  # whatever it is, this folder cannot be served
        raise UsageError(f"--embeddings {folder} cannot be loaded: {_first_line(error)}") from error
    if others := sorted({str(kind) for kind in model.modalities} - {"text", "message"}):
        # a text that looks like the address of a picture would be fetched, and one like a path would be read
        raise UsageError(f"--embeddings {folder} reads {', '.join(others)} too, which is not served here")
    created = int((folder / "modules.json").stat().st_mtime)
    return RetrievalModel(model, id=folder.name, created=created, max_waiting=max_waiting)


def check_retrieval(folder: Path) -> Path:
    """The folder in full, after everything that can be found out quickly: it is one of the library, with no code of its own
    and no pickled weights, and the library is there. Raises UsageError.
    """
    folder = folder.expanduser().absolute()
    parts = _parts(folder)
    kinds = [kind.rpartition(".")[2] for kind, _ in parts]
    for (kind, part), name in zip(parts, kinds, strict=True):
        if kind.partition(".")[0] != _LIBRARY or name not in _KINDS:
            raise UsageError(f"--embeddings {folder} is made of {kind}, which is not served here")
        if not part.is_relative_to(folder.resolve()):
            raise UsageError(f"--embeddings {folder}: {part} lies outside of the folder")
        if _is_pickled(part):
            raise UsageError(
                f"--embeddings {folder}: the weights in {part} are a pickle, which can run code; save them as safetensors"
            )
        if (part / "adapter_config.json").exists():
            raise UsageError(f"--embeddings {folder} is an adapter: save it merged with its model")
    if kinds[:1] != ["Transformer"] or "Pooling" not in kinds:  # a reranker's folder looks so
        raise UsageError(
            f"--embeddings {folder} makes no vector of a text: in modules.json must come a Transformer, then a Pooling"
        )
    if _library_version() < _LEAST_VERSION:
        raise UsageError(
            f"--embeddings needs sentence-transformers {_LEAST_VERSION} or newer; install it with: "
            "pip install 'liaoliao[retrieval]'"
        )
    return folder


def _library_version() -> int:
    """Its first number; 0 where it is not installed."""
    try:
        return int(importlib.metadata.version(_LIBRARY).partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


def _offline_library() -> Any:
    """The library, and the hub's beneath it, which downloads nothing from now on."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read while they are imported, which may have happened already
    constants: Any = importlib.import_module("huggingface_hub.constants")
    constants.HF_HUB_OFFLINE = True
    return importlib.import_module(_LIBRARY)


def _parts(folder: Path) -> list[tuple[str, Path]]:
    """The class and the folder of each module that the model is made of."""
    try:
        text = (folder / "modules.json").read_text(encoding="utf-8")
        parts = [(str(module["type"]), (folder / module["path"]).resolve()) for module in json.loads(text)]
    except OSError as error:
        raise UsageError(
            f"--embeddings {folder} is no folder of sentence-transformers: modules.json is not there"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"--embeddings {folder}: modules.json is damaged") from error
    return parts


def _is_pickled(folder: Path) -> bool:
    """Whether there are weights as a pickle, and none as safetensors beside them."""
    return any(folder.glob("*.bin")) and not any(folder.glob("model*.safetensors"))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts, by their indices, that are read together: similar lengths, so that little of a batch is padding."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = len(batch) == _BATCH_TEXTS or (len(batch) + 1) * lengths[index] > _BATCH_TOKENS
        if batch and full:
            yield batch
            batch = []
        batch.append(index)
    yield batch
