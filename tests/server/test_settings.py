"""Settings refuse what makes no sense, and a server open to everyone does not leave the machine."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from liaoliao.config import apply_overrides, from_json, to_json
from liaoliao.errors import ConfigError, UsageError
from liaoliao.server.auth import given_key, make_key
from liaoliao.server.settings import ApiKey, Settings, check_exposure, is_loopback


@pytest.mark.parametrize(
    "bad",
    [
        {"port": 65536}, {"port": -1}, {"max_waiting": 0}, {"requests_per_minute": 0}, {"read_timeout_s": 0.0},
        {"drain_timeout_s": -1.0}, {"max_header_bytes": 10}, {"cors_origins": ("chat.example",)},
        {"cors_origins": ("https://a.example/path",)}, {"max_body_bytes": -5}, {"session_lifetime_s": 59.0},
        {"multi_user": True, "page": False}, {"behind_https": True}, {"speculate": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_out_of_range_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Settings(**bad)


def test_settings_are_written_and_read_and_set_from_flags() -> None:
    settings = Settings(api_keys=(make_key("a")[1],), api_key_file=Path("keys.jsonl"), cors_origins=("*",))
    assert from_json(Settings, to_json(settings)) == settings
    changed = apply_overrides(settings, ["read_timeout_s=5", "allowed_hosts=a.lan,b.lan", "max_concurrent=3"])
    assert (changed.read_timeout_s, changed.allowed_hosts, changed.max_concurrent) == (
        5.0,
        ("a.lan", "b.lan"),
        3,
    )


def test_two_keys_need_two_names() -> None:
    with pytest.raises(ConfigError, match="two keys"):
        Settings(api_keys=(make_key("a")[1], make_key("a")[1]))


@pytest.mark.parametrize(
    "bad", [{"salt": "xyz"}, {"hash": "00"}, {"name": "a b"}, {"max_concurrent": 0}], ids=str
)
def test_a_record_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    good = {"name": "a", "salt": "00" * 16, "hash": "00" * 32}
    ApiKey(**good)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        ApiKey(**{**good, **bad})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
def test_loopback_is_open_without_a_key(host: str) -> None:
    assert is_loopback(host)
    check_exposure(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "::ffff:0.0.0.0"])
def test_elsewhere_needs_a_key(host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"liaoliao keys new"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, api_keys=(make_key("a")[1],)))
    check_exposure(Settings(host=host, api_key_file=tmp_path / "keys.jsonl"))


def test_there_is_a_page_unless_nobody_could_get_in() -> None:
    key = make_key("a")[1]
    assert Settings().shows_page and Settings(multi_user=True, api_keys=(key,)).shows_page
    assert not Settings(page=False).shows_page and not Settings(api_keys=(key,)).shows_page
    assert not Settings(api_key_file=Path("keys.jsonl")).shows_page
    assert Settings(multi_user=True).needs_key and not Settings().needs_key
    check_exposure(Settings(host="0.0.0.0", multi_user=True))


def test_an_unknown_host_is_said_to_be_one() -> None:
    with pytest.raises(UsageError, match=r"no such address"):
        is_loopback("no such host.invalid")


@pytest.mark.parametrize("weak", ["", "short", "x" * 15, "has a blank in the middle", "ключ" * 8])
def test_a_weak_key_of_ones_own_is_refused(weak: str) -> None:
    with pytest.raises(UsageError, match="LIAOLIAO_API_KEY"):
        given_key("LIAOLIAO_API_KEY", weak)


def test_the_guide_tells_of_every_setting() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/serving-safely.md").read_text(encoding="utf-8")
    names = {field.name for field in fields(Settings)} - {
        "api_keys"
    }  # LIAOLIAO_API_KEY and the file stand for it
    assert [name for name in sorted(names) if f"`{name}`" not in guide] == []
    assert set(re.findall(r"^\| `(\w+)`", guide, re.MULTILINE)) <= names
