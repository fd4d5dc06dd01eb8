"""One line of the log and one count for each request; never a word of what was said."""

import io
import json
import logging
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.server import logs
from liaoliao.server.auth import make_key
from liaoliao.server.logs import JsonFormatter, logging_to
from liaoliao.server.settings import LogLevel, Settings
from tests.server.plain import ask, connect, plain_app, running, until

SECRET = "open-sesame"


def lines_of(app: FastAPI, *requests: dict[str, Any], level: LogLevel = "info") -> list[dict[str, Any]]:
    """What is logged while these requests are made."""
    out = io.StringIO()
    with logging_to(out, level):
        for request in requests:
            ask(app, **request)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_request_is_one_line() -> None:
    key, record = make_key("anna")
    app = plain_app(Settings(api_keys=(record,)))
    post = {"path": "/echo?q=1", "method": "POST", "content": b"four"}
    [line] = lines_of(app, {**post, "headers": {"x-api-key": key, "x-request-id": "r-1"}})
    assert line.pop("time").endswith("Z")
    assert 0 <= line.pop("ms") < 10_000
    assert line == {
        "level": "info", "event": "request", "id": "r-1", "key": "anna", "method": "POST", "route": "/echo",
        "status": 200, "tokens": 4,
    }  # fmt: skip


def test_neither_prompts_nor_keys_nor_addresses_are_logged() -> None:
    key, record = make_key("anna")
    app = plain_app(Settings(api_keys=(record,)))
    good, wrong = {"x-api-key": key}, {"x-api-key": SECRET, "cookie": SECRET, "user-agent": SECRET}
    lines = lines_of(
        app,
        {"path": f"/echo?q={SECRET}", "method": "POST", "content": SECRET.encode(), "headers": good},
        {"path": f"/{SECRET}", "headers": good},
        {"path": "/echo", "method": "POST", "headers": wrong},
        {"path": f"/broken?said={SECRET}", "headers": good},
        {"path": "/echo", "method": "POST", "headers": {**good, "x-request-id": f"{SECRET} {key}"}},
    )
    assert [line["status"] for line in lines if line["event"] == "request"] == [200, 404, 401, 500, 200]
    told = json.dumps(lines)
    assert SECRET not in told
    assert key not in told
    assert [line["route"] for line in lines if line.get("status") == 404] == ["none"]


def test_an_exception_is_logged_once_with_its_kind_and_place() -> None:
    app = plain_app()
    request = {"path": f"/broken?said={SECRET}", "headers": {"x-request-id": "r-2"}}
    failed, told = lines_of(app, request)
    assert (failed["level"], failed["error"], failed["id"]) == ("error", "RuntimeError", "r-2")
    assert failed["at"][-1].endswith(" broken")
    assert told["status"] == 500
    assert lines_of(app, request, level="debug")[0]["message"] == SECRET


def test_lines_below_the_level_are_not_written() -> None:
    assert lines_of(plain_app(), {"path": "/health"}, level="warning") == []


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none(), max_size=3))
def test_whatever_is_logged_is_one_line_of_json(words: str, facts: dict[str, Any]) -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, words, None, None)
    record.facts = facts
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1 or not line.isascii()
    assert "\n" not in line
    assert {**json.loads(line), "event": words} == json.loads(line) or "event" in facts


def test_a_reader_that_falls_asleep_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate, written = threading.Event(), []

    class Asleep(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait(10)
            written.append(text)
            return len(text)

    monkeypatch.setattr(logs, "_MAX_QUEUED", 5)
    with logging_to(Asleep(), "info"):
        for i in range(50):
            logs.log_request(number=i)
        gate.set()
        until(lambda: any("dropped" in text for text in written))
    dropped = next(json.loads(text) for text in written if "dropped" in text)
    assert dropped["num_lines"] >= 40


def test_an_output_that_is_gone_is_no_ones_business() -> None:
    out = io.StringIO()
    out.close()
    with logging_to(out, "info"):
        assert ask(plain_app()).status_code == 200


# Metrics


def samples(app: FastAPI, **headers: str) -> dict[str, float]:
    """Every sample of /metrics by its name and labels."""
    reply = ask(app, "/metrics", headers=headers)
    assert reply.headers["content-type"].startswith("text/plain")
    pairs = [line.rsplit(" ", 1) for line in reply.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def test_requests_are_counted_by_route_and_status() -> None:
    app = plain_app()
    for path in ("/health", "/health", "/nosuch", "/nosuch/too", "/broken?said=x"):
        ask(app, path)
    ask(app, "/echo", method="POST")
    ask(app, "/echo", method="BREW")
    counted = samples(app)
    told = {name: value for name, value in counted.items() if name.startswith("liaoliao_requests_total")}
    assert told == {
        'liaoliao_requests_total{method="GET",route="/health",status="200"}': 2,
        'liaoliao_requests_total{method="GET",route="none",status="404"}': 2,
        'liaoliao_requests_total{method="GET",route="/broken",status="500"}': 1,
        'liaoliao_requests_total{method="POST",route="/echo",status="200"}': 1,
        'liaoliao_requests_total{method="OTHER",route="/echo",status="405"}': 1,
    }
    assert counted['liaoliao_request_seconds_count{route="/health"}'] == 2
    assert counted["liaoliao_requests_in_flight"] == 1, "the one that asks"


def test_a_stream_is_timed_by_its_events_and_not_by_comments() -> None:
    app = plain_app()
    ask(app, "/words/4?pause_s=0.02")
    counted = samples(app)
    route = '{route="/words/{count}"}'
    assert counted[f"liaoliao_time_to_first_token_seconds_count{route}"] == 1
    assert counted[f"liaoliao_inter_token_seconds_count{route}"] == 4
    assert counted[f"liaoliao_inter_token_seconds_sum{route}"] >= 0.08


def test_two_apps_count_apart() -> None:
    first, second = plain_app(), plain_app()
    ask(first)
    assert not any(name.startswith("liaoliao_requests_total") for name in samples(second))
    assert any(name.startswith("liaoliao_requests_total") for name in samples(first))


class Stats:
    num_running, num_waiting, num_blocks, num_free_blocks = 3, 2, 100, 60
    prompt_tokens, cached_tokens, generated_tokens, preemptions, speculated, accepted = 11, 12, 13, 14, 15, 16


class Model:
    class engine:  # noqa: N801  (an instance would do; a class is shorter)
        stats = Stats
        accepting = True


class Ended(Model):
    class engine(Model.engine):  # noqa: N801
        accepting = False


def test_the_engines_figures_are_read_when_asked_for() -> None:
    app = plain_app()
    app.state.models = {"town": Model()}
    counted = {
        name.removesuffix('{model="town"}'): value for name, value in samples(app).items() if "town" in name
    }
    assert counted == {
        "liaoliao_running": 3, "liaoliao_waiting": 2, "liaoliao_kv_blocks": 100, "liaoliao_kv_blocks_used": 40,
        "liaoliao_prompt_tokens_total": 11, "liaoliao_cached_tokens_total": 12, "liaoliao_generated_tokens_total": 13,
        "liaoliao_preemptions_total": 14, "liaoliao_drafted_tokens_total": 15, "liaoliao_accepted_tokens_total": 16,
    }  # fmt: skip


def test_a_client_that_leaves_is_counted_and_logged() -> None:
    app, settings = plain_app(), Settings(port=0)
    out = io.StringIO()
    with logging_to(out, "info"), running(app, settings) as url:
        connection = connect(url)
        connection.sendall(b"GET /words/100000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(1000)
        connection.close()
        until(lambda: app.state.left == 1)
        until(lambda: samples(app).get('liaoliao_disconnects_total{route="/words/{count}"}') == 1)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert any(line.get("gone") and line["route"] == "/words/{count}" for line in lines)


# Health


def test_ready_says_whether_a_request_would_be_taken() -> None:
    app = plain_app()
    assert ask(app, "/health").json() == {"status": "ok"}
    loading = ask(app, "/ready")
    assert (loading.status_code, loading.json()) == (503, {"status": "loading", "models": []})
    app.state.models = {"town": Model()}
    ready = ask(app, "/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "models": ["town"]})
    app.state.models["ended"] = Ended()
    assert ask(app, "/ready").json() == {"status": "ready", "models": ["town"]}
    del app.state.models["town"]
    ended = ask(app, "/ready")
    assert (ended.status_code, ended.json()) == (503, {"status": "unavailable", "models": []})
    app.state.draining = True
    assert ask(app, "/ready").json()["status"] == "draining"
    assert ask(app, "/health").status_code == 200
