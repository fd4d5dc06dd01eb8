"""The commands serve and keys as a person gives them."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.main import get_command
from typer.testing import Result

from liaoliao.cli import app
from liaoliao.engine.speculate import DRAFTS
from liaoliao.server.auth import KeyRing
from liaoliao.server.serve import bind
from liaoliao.server.settings import Settings
from tests.cli.tiny_run import liaoliao
from tests.long.stand import NAME, make_model
from tests.server.plain import until


def refused(result: Result, *words: str) -> None:
    """One sentence on stderr and exit code 2."""
    assert result.exit_code == 2, result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in result.output
    for word in words:
        assert word in line


# Keys


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"
    made = liaoliao("keys", "new", "anna", "--file", file, "--requests-per-minute", 60)
    assert made.exit_code == 0, made.output
    [key] = made.stdout.splitlines()
    assert f"liaoliao serve --api-keys {file}" in made.stderr
    assert key not in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    record = KeyRing(file=file).find(key)
    assert record
    assert (record.name, record.requests_per_minute) == ("anna", 60)
    listed = liaoliao("keys", "list", "--file", file).stdout
    assert re.fullmatch(r"anna  made \d{4}-\d\d-\d\d; requests per minute 60\n", listed)
    assert liaoliao("keys", "revoke", "anna", "--file", file).exit_code == 0
    assert "; revoked 2" in liaoliao("keys", "list", "--file", file).stdout
    assert KeyRing(file=file).find(key) is None


def test_keys_are_kept_in_ones_home(tmp_path: Path) -> None:
    assert "no key yet" in liaoliao("keys", "list", home=tmp_path).stdout
    assert liaoliao("keys", "new", "anna", home=tmp_path).exit_code == 0
    assert (tmp_path / "keys.jsonl").is_file()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["keys", "new"], "NAME"),
        (["keys", "list", "anna"], "list takes none"),
        (["keys", "revoke", "nobody"], "no such file"),
        (["keys", "new", "a b"], "a b"),
        (["keys", "list", "--max-concurrent", 3], "new key"),
        (["keys", "make", "anna"], "make"),
        (["keys", "new", "a", "--requests-per-minute", 0], "requests-per-minute"),
    ],
    ids=str,
)
def test_a_wrong_word_is_one_sentence(args: list[object], word: str, tmp_path: Path) -> None:
    refused(liaoliao(*args, home=tmp_path), word)


def test_a_name_in_use_is_refused(tmp_path: Path) -> None:
    liaoliao("keys", "new", "anna", home=tmp_path)
    refused(liaoliao("keys", "new", "anna", home=tmp_path), "anna already")


# What serve refuses before it loads anything


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """What looks like a model as long as nobody opens it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_no_model_no_server(tmp_path: Path) -> None:
    refused(liaoliao("serve", home=tmp_path), "current", "liaoliao speedrun")
    refused(liaoliao("serve", tmp_path / "nosuch"), "nosuch")


def test_elsewhere_only_with_a_key(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(liaoliao("serve", model, "--host", "0.0.0.0"), "--host 0.0.0.0", "liaoliao keys new NAME")
    monkeypatch.setenv("LIAOLIAO_API_KEY", "guess-me")
    refused(liaoliao("serve", model, "--host", "0.0.0.0"), "LIAOLIAO_API_KEY", "16 characters")
    refused(
        liaoliao("serve", model, "--api-keys", model / "nosuch.jsonl"), "nosuch.jsonl", "liaoliao keys new"
    )


def test_the_key_of_the_environment_is_not_handed_on(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIAOLIAO_API_KEY", "0123456789abcdef")
    assert liaoliao("serve", model, "--port", 0).exit_code == 2
    assert "LIAOLIAO_API_KEY" not in os.environ


def test_a_port_in_use(model: Path) -> None:
    with bind(Settings(port=0)) as taken:
        port = taken.getsockname()[1]
        refused(liaoliao("serve", model, "--port", port), f"port {port} of 127.0.0.1 is in use")


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--port", 70000], "--port"),
        (["--set", "read_timeout=3"], "read_timeout_s"),
        (["--set", "read_timeout_s=0"], "read_timeout_s"),
        (["--cors-origin", "chat.example"], "chat.example"),
        (["--max-waiting", 0], "max-waiting"),
        (["--speculate", -1], "--speculate"),
        (["--log-level", "loud"], "loud"),
        (["--dtype", "fp7"], "fp7"),
    ],
    ids=str,
)
def test_a_wrong_flag_is_one_sentence(model: Path, args: list[object], word: str) -> None:
    refused(liaoliao("serve", model, *args), word)


def test_vllm_makes_no_guesses_of_ours(model: Path) -> None:
    flags = ["--port", "0", "--no-page", "--backend", "vllm"]
    for guesses in (["--speculate", "4"], ["--set", "speculate=4"]):
        refused(liaoliao("serve", model, *flags, *guesses), "--speculate", "--backend vllm")


def test_the_help_tells_how_many_guesses_there_are_by_default() -> None:
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    [flag] = [parameter for parameter in serve.params if parameter.name == "speculate"]
    assert flag.show_default == str(DRAFTS)


def test_help_does_not_wait_for_the_server() -> None:
    check = "import sys, liaoliao.cli; sys.exit(bool({'torch', 'fastapi', 'uvicorn', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


# A whole server


def test_a_real_server_answers_logs_and_lets_a_stream_finish(tmp_path: Path) -> None:
    folder, home = make_model(tmp_path, depth=1), tmp_path / "home"
    key = liaoliao("keys", "new", "anna", home=home).stdout.strip()
    log = tmp_path / "server.log"
    command = [sys.executable, "-m", "liaoliao", "serve", str(folder), "--port", "0", "--dtype", "fp32"]
    with log.open("w", encoding="utf-8") as err:
        server = subprocess.Popen(
            [*command, "--api-keys", str(home / "keys.jsonl")],
            stdout=subprocess.PIPE, stderr=err, text=True, encoding="utf-8",
        )  # fmt: skip
    try:
        until(lambda: "ready on " in log.read_text(encoding="utf-8") or server.poll() is not None, 60.0)
        url = log.read_text(encoding="utf-8").partition("ready on ")[2].split()[0]
        body = {"model": NAME, "prompt": "the cat", "max_tokens": 300, "ignore_eos": True, "stream": True}
        headers = {"x-api-key": key}
        assert httpx.post(f"{url}/v1/completions", json=body).status_code == 401
        with httpx.stream("POST", f"{url}/v1/completions", json=body, headers=headers, timeout=60) as reply:
            lines = reply.iter_lines()
            assert next(lines).startswith("data: ")
            server.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert len(rest) > 30, "it went on after the signal"
        out, _ = server.communicate(timeout=30)
    finally:
        server.kill()
    assert server.returncode == 0
    assert log.read_text(encoding="utf-8").endswith("stopped\n")
    refused_line, line = [json.loads(line) for line in out.splitlines()]
    assert (refused_line["status"], "key" in refused_line) == (401, False)
    assert (line["status"], line["key"], line["route"]) == (200, "anna", "/v1/completions")
    assert line["tokens"] > 300, "those of the prompt, too"
    assert key not in out + log.read_text(encoding="utf-8")
