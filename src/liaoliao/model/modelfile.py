"""The Modelfile that goes with a GGUF file: how Ollama is to talk to the model.

    ollama create town -f town.Modelfile
    ollama run town

Ollama asks for the chat template in Go's template language. Ours is said here a second time, in that language;
a foreign model's Jinja stands in the GGUF, where newer Ollamas read it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from liaoliao.model.config import ModelConfig
from liaoliao.model.gguf_metadata import sampling
from liaoliao.model.gguf_vocabulary import Vocabulary
from liaoliao.text.chat_template import CHATML_JINJA

# CHATML_JINJA in Go. Ollama finds the marks of thoughts and tool calls by the first words after `.Thinking` and
# `if .ToolCalls`, so those come first there; the line break before a call stands outside. A last message of
# the assistant is left open: the model goes on with it. Ollama writes JSON without the spaces that ours has.
CHATML_GO: Final = """\
{{- if .Tools }}<|im_start|>system
Tools:
{{- range .Tools }}
{"name": {{ json .Function.Name }}, "description": {{ json .Function.Description }}, \
"parameters": {{ json .Function.Parameters }}}
{{- end }}
{{- with index .Messages 0 }}{{ if and (eq .Role "system") .Content }}

{{ .Content }}
{{- end }}{{ end }}<|im_end|>
{{ end }}
{{- range $i, $message := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "system" }}
{{- if not (and $.Tools (eq $i 0)) }}<|im_start|>system
{{ .Content }}<|im_end|>
{{ end }}
{{- else if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "tool" }}<|im_start|>tool
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Thinking }}<think>
{{ .Thinking }}
</think>

{{ end }}{{ .Content }}
{{- if and $message.Content $message.ToolCalls }}
{{ end }}
{{- if .ToolCalls }}{{ range $j, $call := .ToolCalls }}<tool_call>
{"name": {{ json .Function.Name }}, "arguments": {{ json .Function.Arguments }}}
</tool_call>
{{- if ne (len (slice $message.ToolCalls $j)) 1 }}
{{ end }}{{ end }}{{ end }}
{{- if not $last }}<|im_end|>
{{ end }}
{{- end }}
{{- if and $last (ne .Role "assistant") }}<|im_start|>assistant
{{ end }}
{{- end }}"""


def modelfile(
    gguf_name: str, name: str, config: ModelConfig, vocabulary: Vocabulary, generation: Mapping[str, Any]
) -> str:
    """The text of the Modelfile for the file `gguf_name` beside it."""
    lines = [
        f"# ollama create {name} -f {gguf_name.removesuffix('.gguf')}.Modelfile",
        f"FROM ./{gguf_name}",
        "",
        _template(vocabulary.chat_template),
        "",
        *_parameters(config, vocabulary, generation),
    ]
    return "\n".join(lines) + "\n"


def _template(jinja: str | None) -> str:
    if jinja == CHATML_JINJA:
        return f'TEMPLATE """{CHATML_GO}"""'
    if jinja is None:
        return "# a base model: it continues a text\nTEMPLATE {{ .Prompt }}"
    return "# TEMPLATE: none here, so that Ollama takes the one in the GGUF file"


def _parameters(config: ModelConfig, vocabulary: Vocabulary, generation: Mapping[str, Any]) -> Iterator[str]:
    yield from (f'PARAMETER stop "{stop}"' for stop in vocabulary.stops)
    values = sampling(generation)
    yield f"PARAMETER num_ctx {config.max_position_embeddings}"
    yield f"PARAMETER temperature {values['temperature']:g}"
    yield f"PARAMETER top_k {values['top_k']:g}"
    yield f"PARAMETER top_p {values['top_p']:g}"
    yield f"PARAMETER min_p {values['min_p']:g}"
    yield f"PARAMETER repeat_penalty {values['repetition_penalty']:g}"
    yield "PARAMETER repeat_last_n -1"
