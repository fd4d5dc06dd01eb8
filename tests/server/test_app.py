"""The app as a whole: a model served from its folder, and what /openapi.json tells of the routes."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.engine.request import Request, SamplingParams
from liaoliao.errors import UsageError
from liaoliao.model.registry import register
from liaoliao.server.app import create_app
from liaoliao.server.page.loading import LoadOptions, load_served
from liaoliao.server.served import ServedModel, served_model
from liaoliao.server.settings import Settings
from tests.server.plain import ask, running, until


def test_a_model_is_served_under_its_name(tiny: ServedModel, model_folder: Path) -> None:
    assert tiny.id == "tiny" and tiny.defaults == {"temperature": 0.7}
    assert tiny.created == int((model_folder / "config.json").stat().st_mtime)
    register("current", model_folder)
    served = served_model("current", dtype="fp32", max_waiting=3)
    served.engine.close()
    assert served.id == "current" and served.max_length == tiny.max_length
    with pytest.raises(UsageError, match="did you mean current"):
        served_model("curent")


def test_the_api_alone_follows_the_name_of_its_model(model_folder: Path, tmp_path: Path) -> None:
    """As the page's server does: the same engine, with the weights that the name stands for now."""
    newer = Path(shutil.copytree(model_folder, tmp_path / "newer"))
    (newer / "manifest.json").write_text(
        (newer / "manifest.json").read_text("utf-8") + "\n", encoding="utf-8"
    )
    register("current", model_folder)
    served = served_model("current", dtype="fp32")
    app = create_app(Settings(port=0), [served], loading=LoadOptions(dtype="fp32", every_s=0.01))
    with running(app, Settings(port=0)):
        register("current", newer)
        until(lambda: app.state.models["current"].folder == newer)
    now = app.state.models["current"]
    assert now.engine is served.engine and now.version != served.version
    assert served.engine.stats().version == now.version
    served.engine.close()


def test_guesses_are_made_where_the_settings_say_so(model_folder: Path) -> None:
    """By the model that a server starts with, and by those that it loads later."""

    async def speculated(served: ServedModel) -> int:
        asked = Request((5, 6, 7) * 5, SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True))
        async for _ in served.engine.stream(asked):
            pass
        return served.engine.stats().speculated

    first = served_model(model_folder, dtype="fp32", speculate=3)
    later = load_served(model_folder, "later", LoadOptions(dtype="fp32", speculate=3)).served
    without = served_model(model_folder, dtype="fp32", speculate=0)
    try:
        assert asyncio.run(speculated(first)) > 0 and asyncio.run(speculated(later)) > 0
        assert asyncio.run(speculated(without)) == 0
    finally:
        for served in (first, later, without):
            served.engine.close()
    app = create_app(Settings(speculate=3), [first])
    assert app.state.following.options.speculate == 3


def references(schema: Any) -> set[str]:
    """All that a schema refers to."""
    if isinstance(schema, list):
        return set().union(*map(references, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
    return own.union(*map(references, schema.values()))


def test_the_schema_tells_of_every_failure_and_refers_to_nothing_that_is_not_there(app: FastAPI) -> None:
    schema = ask(app, "/openapi.json").json()
    names = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert references(schema) <= names and json.dumps(schema).count("HTTPValidationError") == 0
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"):
        post = schema["paths"][path]["post"]
        assert post["requestBody"]["required"] and "application/json" in post["requestBody"]["content"]
        failure = post["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"]
        assert failure.endswith("/FailureEnvelope") and "422" not in post["responses"]
    chat = schema["components"]["schemas"]["ChatCompletionRequest"]
    assert chat["additionalProperties"] is False and set(chat["required"]) == {"model", "messages"}
    assert (
        "text/event-stream" in schema["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    )
