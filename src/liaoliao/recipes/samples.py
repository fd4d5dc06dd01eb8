"""What a model says while it learns: the same few prompts from time to time, a line each in RUN/samples.jsonl.

    hooks.append(WithinShare(SAMPLE_SHARE, SAMPLE_EVERY_S, Samples("sft", streams, corpus, run_dir)))

    {"stage": "sft", "step": 400, "tokens": 1638400, "time": 1763900000.0, "kind": "chat", "lang": "en",
     "prompt": "Where is Ada?", "reply": "Ada is at the mill.", "finished": true}

Questions are asked where a stage learns from talk, and beginnings of texts that are kept back are gone on with where it
learns from text. The likeliest token is taken each time, so nothing differs from one sample to the next but the weights;
and nothing of the training is touched: neither its random numbers, nor its threads, nor its place in the data.

They can be given an end: what is being said then is cut off, and nothing is begun after it, so that the last samples of
a short run do not make it a longer one.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from liaoliao.engine.engine import Engine
from liaoliao.engine.request import Request, SamplingParams
from liaoliao.engine.runner import TorchRunner
from liaoliao.messages import Message
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.corpus import Corpus, Lang
from liaoliao.train.loop import TrainState
from liaoliao.train.run_dir import RunDir

SAMPLE_SHARE = (
    0.008  # of the training time; with the last ones, which are always taken, less than a hundredth
)
SAMPLE_EVERY_S = 30.0  # of training
QUESTIONS, TEXTS = 2, 1  # of each language
MAX_TOKENS = 40
CACHE_BYTES = 128 << 20  # of keys and values, for the moment
TALK = ("talks", "said")  # streams that the chat template has rendered


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and the request that asks it."""

    kind: Literal["chat", "text"]
    lang: Lang
    text: str
    request: Request


@dataclass(slots=True)
class Said:
    """The tokens of a reply without the one that ended it, and whether it came to its end."""

    token_ids: list[int]
    finished: bool = False


class Samples:
    """A hook that writes down what the model says at this step. No token is made after `ends_at_s`, in seconds of
    `time.monotonic`: what has been said by then is a sample that is not finished.
    """

    def __init__(
        self,
        stage: str,
        streams: Sequence[str],
        corpus: Corpus,
        run_dir: RunDir,
        *,
        ends_at_s: float = math.inf,
    ) -> None:
        self.stage, self.corpus, self.run_dir, self.ends_at_s = stage, corpus, run_dir, ends_at_s
        self.prompts = tuple(prompts_for(streams, corpus))

    def __call__(self, state: TrainState) -> None:
        """Ask them all at once."""
        limit = state.model.config.max_position_embeddings - MAX_TOKENS // 2
        prompts = [prompt for prompt in self.prompts if len(prompt.request.token_ids) <= limit]
        if not prompts or time.monotonic() >= self.ends_at_s:
            return
        for prompt, said in zip(prompts, _answers(state.model, prompts, self.ends_at_s), strict=True):
            if not (said.token_ids or said.finished):
                continue
            self.run_dir.log_sample(
                stage=self.stage,
                step=state.step,
                tokens=state.num_tokens,
                time=round(time.time(), 3),
                kind=prompt.kind,
                lang=prompt.lang,
                prompt=prompt.text,
                reply=self.corpus.tokenizer.decode(said.token_ids),
                finished=said.finished,
            )


def _answers(model: Transformer, prompts: Sequence[Prompt], ends_at_s: float) -> list[Said]:
    model.eval()
    runner = TorchRunner(model, kv_cache_bytes=CACHE_BYTES)
    engine = Engine(runner, max_running=len(prompts), prefix_cache=False)
    said = {engine.add(prompt.request): Said([]) for prompt in prompts}
    while not engine.idle and time.monotonic() < ends_at_s:
        for request_id, event in engine.step():
            if event.finish_reason == "stop":
                said[request_id].finished = True
            else:
                said[request_id].token_ids.append(event.token_id)
    model.train()
    return list(said.values())


def prompts_for(streams: Sequence[str], corpus: Corpus) -> Iterator[Prompt]:
    """Questions and beginnings in each language of the corpus, as far as these streams teach to answer them."""
    kinds = {name.partition(":")[0] for name in streams}
    for lang, texts in corpus.held_out.items():
        if kinds - {*TALK}:
            for text in filter(None, (beginning(text, lang) for text in texts[:TEXTS])):
                yield Prompt("text", lang, text, _continuation(corpus, text))
    for lang, questions in corpus.questions.items():
        if kinds & {*TALK}:
            for question in questions[:QUESTIONS]:
                yield Prompt("chat", lang, question, _question(corpus, question))


def beginning(text: str, lang: Lang) -> str:
    """The first words of a text.

    beginning("The cat sat on the mat, and so did all of the others.", "en")  ->  "The cat sat on the mat, and so"
    """
    line = text.strip().partition("\n")[0]
    return line[:12] if lang == "zh" else " ".join(line.split(" ")[:8])


def _continuation(corpus: Corpus, text: str) -> Request:
    """A document begins after the end of another."""
    end = corpus.tokenizer.end_of_text_id
    return Request((end, *corpus.tokenizer.encode(text)), _params((end,)))


def _question(corpus: Corpus, text: str) -> Request:
    prompt = corpus.template.prompt([Message.user(text)])
    return Request(tuple(prompt), _params(tuple(corpus.template.stop_ids)))


def _params(stop_ids: tuple[int, ...]) -> SamplingParams:
    return SamplingParams(max_tokens=MAX_TOKENS, temperature=0.0, seed=0, stop_token_ids=stop_ids)
