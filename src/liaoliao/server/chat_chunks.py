"""From the events of replies to OpenAI's chat objects: chunks of a stream, or one whole response.

chunks = ChatChunks(head, index=0)
chunks.of(ReplyText("5"))  ->  [{..., "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, ...}]},
                                {..., "choices": [{"index": 0, "delta": {"content": "5"}, ...}]}]
"""

from collections.abc import Iterator, Sequence
from typing import Any

from liaoliao.server.logprobs import TokenLogprob
from liaoliao.server.openai import Head, usage_wire
from liaoliao.server.reply import ReplyDone, ReplyEvent, ReplyReasoning, ReplyText, ReplyToolCall

_CHUNK = "chat.completion.chunk"


class ChatChunks:
    """The chunks of one choice. `forced`: the tool was named, which ends in "stop", as with OpenAI."""

    def __init__(self, head: Head, index: int, *, logprobs: bool = False, forced: bool = False) -> None:
        self.head, self.index = head, index
        self.logprobs, self.forced = logprobs, forced
        self._begun = False

    def of(self, event: ReplyEvent) -> Iterator[dict[str, Any]]:
        """The chunks that tell of an event."""
        if not self._begun:
            self._begun = True
            yield self._chunk(
                {"role": "assistant", "content": None if isinstance(event, ReplyToolCall) else ""}
            )
        match event:
            case ReplyText(text, logprobs):
                yield self._chunk({"content": text}, logprobs)
            case ReplyReasoning(text):
                yield self._chunk({"reasoning_content": text})
            case ReplyToolCall():
                yield self._chunk({"tool_calls": [_call_delta(event)]})
            case ReplyDone():
                yield self._chunk({}, finish_reason=_finish_reason(event, self.forced))

    def _chunk(
        self,
        delta: dict[str, Any],
        logprobs: Sequence[TokenLogprob] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        told = logprobs_wire(logprobs) if self.logprobs and logprobs else None
        choice = {"index": self.index, "delta": delta, "logprobs": told, "finish_reason": finish_reason}
        return self.head.of(_CHUNK, choices=[choice])


def usage_chunk(head: Head, dones: Sequence[ReplyDone]) -> dict[str, Any]:
    """The chunk after all choices that says what the stream cost."""
    usage = usage_wire([done.usage for done in dones], num_choices=len(dones))
    return head.of(_CHUNK, choices=[], usage=usage)


def whole_response(
    head: Head, replies: Sequence[Sequence[ReplyEvent]], *, logprobs: bool, forced: bool
) -> dict[str, Any]:
    """A response that is no stream: all events of each choice."""
    dones = [events[-1] for events in replies]
    assert all(isinstance(done, ReplyDone) for done in dones)
    choices = [_choice(index, events, logprobs, forced) for index, events in enumerate(replies)]
    usage = usage_wire([done.usage for done in dones if isinstance(done, ReplyDone)], num_choices=len(dones))
    return head.of("chat.completion", choices=choices, usage=usage)


def _choice(index: int, events: Sequence[ReplyEvent], logprobs: bool, forced: bool) -> dict[str, Any]:
    *_, done = events
    assert isinstance(done, ReplyDone)
    tokens = [token for event in events if isinstance(event, ReplyText) for token in event.logprobs]
    return {
        "index": index,
        "message": {"refusal": None, **done.message.to_openai()},
        "logprobs": logprobs_wire(tokens) if logprobs else None,
        "finish_reason": _finish_reason(done, forced),
    }


def logprobs_wire(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """OpenAI's logprobs of a piece of text."""
    return {
        "content": [
            {
                **_token(token.token, token.bytes, token.logprob),
                "top_logprobs": [_token(*alternative) for alternative in token.top],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def _token(token: str, spelled: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(spelled)}


def _call_delta(call: ReplyToolCall) -> dict[str, Any]:
    """The head of a call says what it is; what follows says only its arguments."""
    if call.arguments_delta:
        return {"index": call.index, "function": {"arguments": call.arguments_delta}}
    return {
        "index": call.index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}
    }  # fmt: skip


def _finish_reason(done: ReplyDone, forced: bool) -> str:
    return "stop" if forced and done.finish_reason == "tool_calls" else done.finish_reason
