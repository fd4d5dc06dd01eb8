"""kill -9 in the middle of writing, a few rounds of it: no acknowledged write is lost. The hundred rounds of each
database are in tests/long/kill_server.py.
"""

from tests.store.killing import kill_round


def test_no_acknowledged_write_is_lost(url: str) -> None:
    rounds = [kill_round(url, after_s) for after_s in (0.02, 0.11, 0.23)]
    assert all(each.num_acknowledged > 0 for each in rounds)
    assert any(each.num_interrupted for each in rounds), "one of them was killed in the middle of a reply"
