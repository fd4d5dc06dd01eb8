"""kill -9 in the middle of writing, a few rounds of it: no acknowledged write is lost. The hundred rounds of each
database are in tests/long/kill_server.py.
"""

from tests.store.killing import kill_round

_MOST_ROUNDS = 20


def test_no_acknowledged_write_is_lost(url: str) -> None:
    rounds = [kill_round(url, after_s) for after_s in (0.02, 0.11, 0.23)]
    while not any(
        each.num_interrupted for each in rounds
    ):  # a busy machine may kill between two replies each time
        assert len(rounds) < _MOST_ROUNDS, "none of them was killed in the middle of a reply"
        rounds.append(kill_round(url, 0.02 * len(rounds)))
    assert all(each.num_acknowledged > 0 for each in rounds)
