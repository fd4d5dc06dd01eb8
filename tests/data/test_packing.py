from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from liaoliao.data.example import Example
from liaoliao.data.packing import fill, pack, windows
from liaoliao.errors import DataError


def reader(examples: list[Example]) -> Any:
    def read(example: int, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return examples[example].token_ids[start:stop], examples[example].loss_weights[start:stop]

    return read


@given(st.lists(st.integers(0, 70), max_size=60), st.integers(2, 32))
def test_every_token_has_exactly_one_place(lengths: list[int], row_length: int) -> None:
    packing = pack(lengths, row_length)
    places = sorted(
        (example, start + i) for row in packing.rows() for example, start, size in row for i in range(size)
    )
    assert places == [(example, i) for example, length in enumerate(lengths) for i in range(length)]
    for row in packing.rows():
        assert 0 < sum(size for _, _, size in row) <= row_length
        assert all(start % row_length == 0 for _, start, _ in row)  # only what is longer than a row is cut


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.integers(2, 16),
    st.randoms(use_true_random=False),
)
def test_documents_stay_apart_in_a_batch(lengths: list[int], row_length: int, random: Any) -> None:
    """Each segment is one piece of one document: ids, weights and positions of nothing else."""
    examples = [
        Example([1000 * i + k for k in range(n)], [random.random() for _ in range(n)])
        for i, n in enumerate(lengths)
    ]
    packing = pack(lengths, row_length)
    batch = fill(packing.rows(), row_length, reader(examples))
    seen = []
    for ids, weights, segments, positions in zip(
        batch.token_ids.numpy(),
        batch.loss_weights.numpy(),
        batch.segment_ids.numpy(),
        batch.positions.numpy(),
        strict=True,
    ):
        numbers = segments[segments > 0]
        assert set(numbers) == set(range(1, numbers.max() + 1))  # numbered from 1, padding only behind
        assert np.array_equal(numbers, np.sort(numbers))
        assert not (
            ids[segments == 0].any() or weights[segments == 0].any() or positions[segments == 0].any()
        )
        for segment in range(1, numbers.max() + 1):
            piece = ids[segments == segment]
            example = examples[piece[0] // 1000]
            first = int(piece[0] % 1000)
            assert np.array_equal(piece, example.token_ids[first : first + len(piece)])
            assert np.array_equal(positions[segments == segment], np.arange(len(piece)))
            wanted = example.loss_weights[first : first + len(piece)].copy()
            wanted[0] = 0
            assert np.array_equal(weights[segments == segment], wanted)
            seen.append((int(piece[0]) // 1000, first, len(piece)))
    assert sorted(seen) == sorted(piece for row in packing.rows() for piece in row)
    assert batch.num_items == pytest.approx(
        float(batch.loss_weights.double().sum())
    )  # the sums' order differs


def test_the_example_of_the_docstring() -> None:
    packing = pack([3, 5, 2], 5)
    assert packing.rows() == [[(1, 0, 5)], [(0, 0, 3), (2, 0, 2)]]
    batch = fill(packing.rows(), 5, lambda example, start, stop: (np.full(stop - start, example + 1), None))
    assert batch.token_ids.tolist() == [[2] * 5, [1, 1, 1, 3, 3]]
    assert batch.segment_ids.tolist() == [[1] * 5, [1, 1, 1, 2, 2]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 0, 1]]
    assert batch.loss_weights.tolist() == [[0, 1, 1, 1, 1], [0, 1, 1, 0, 1]]
    assert packing.padding_fraction == 0


@pytest.mark.parametrize("row_length", [256, 512, 1024])
def test_hardly_anything_is_padded(row_length: int) -> None:
    rng = np.random.default_rng(0)
    talks = np.maximum(10, rng.normal(80, 30, 6000)).astype(np.int64)
    documents = np.maximum(5, rng.lognormal(6.5, 1.0, 800)).astype(np.int64)
    for lengths in (talks, documents):
        packing = pack(lengths, row_length)
        assert packing.padding_fraction < 0.01
        assert packing.padding_fraction == pytest.approx(1 - lengths.sum() / (packing.num_rows * row_length))


def test_no_examples_no_rows() -> None:
    assert pack([], 8).num_rows == 0
    assert pack([0, 0], 8).padding_fraction == 0


def test_a_row_of_one_token_is_refused() -> None:
    with pytest.raises(DataError, match="row_length is 1"):
        pack([1], 1)
    with pytest.raises(DataError, match="row_length is 1"):
        windows(Example([1, 2]), 1)


# Windows of what is longer than a row


talks = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8)  # tokens of question and answer


def talk_of(sizes: list[tuple[int, int]], weight: float = 1.0) -> Example:
    """Token i is i; the answers are learned from."""
    weights = [w for question, answer in sizes for w in [0.0] * question + [weight] * answer]
    return Example(np.arange(len(weights)), weights)


@given(talks, st.integers(2, 16), st.sampled_from([1.0, 0.5]))
def test_windows_learn_every_token_once_and_behind_another(
    sizes: list[tuple[int, int]], row_length: int, weight: float
) -> None:
    example = talk_of(sizes, weight)
    found = windows(example, row_length)
    if len(example) <= row_length:
        assert found == [example]
        return
    seen: list[int] = []
    for window in found:
        first = int(window.token_ids[0])
        assert np.array_equal(window.token_ids, np.arange(first, first + len(window)))
        assert len(window) <= row_length and window.loss_weights[-1] == weight
        assert first == 0 or window.loss_weights[0] == 0  # a first token cannot be learned
        learned = window.token_ids[1:][window.loss_weights[1:] > 0]
        assert (example.loss_weights[learned] == window.loss_weights[learned - first]).all()
        seen += learned.tolist()
    assert seen == [i for i, w in enumerate(example.loss_weights.tolist()) if i and w]


@given(talks, st.integers(2, 16))
def test_windows_part_no_answer_from_its_question_where_both_fit(
    sizes: list[tuple[int, int]], row_length: int
) -> None:
    example = talk_of(sizes)
    weights = [*example.loss_weights.tolist(), 0.0]
    ends = [i + 1 for i in range(len(example)) if weights[i] and not weights[i + 1]]
    found = windows(example, row_length)
    for begin, end in zip([0, *ends], ends, strict=False):  # a question, and its answer up to `end`
        if 1 < end <= begin + row_length:
            spans = [(int(w.token_ids[0]), w.loss_weights) for w in found if w.token_ids[0] <= begin]
            whole = example.loss_weights[begin:end]
            assert any(np.array_equal(w[begin - first : end - first], whole) for first, w in spans)


def test_windows_of_a_talk_and_of_an_answer_longer_than_a_row() -> None:
    two = windows(talk_of([(2, 2), (1, 1), (3, 0)]), 4)
    assert [window.token_ids.tolist() for window in two] == [[0, 1, 2, 3], [2, 3, 4, 5]]
    assert [window.loss_weights.tolist() for window in two] == [[0, 0, 1, 1], [0, 0, 0, 1]]
    long = windows(talk_of([(1, 7)]), 4)
    assert [window.token_ids.tolist() for window in long] == [[0, 1], [1, 2, 3, 4], [4, 5, 6, 7]]
    assert [window.loss_weights.tolist() for window in long] == [[0, 1], [0, 1, 1, 1], [0, 1, 1, 1]]
    assert windows(talk_of([(9, 0)]), 4) == []


def test_windows_keep_the_columns_and_leave_the_example_alone() -> None:
    example = Example([1, 2, 3, 4], [0, 1, 0, 1], {"advantages": [0.0, 1.0, 2.0, 3.0]})
    first, last = windows(example, 3)
    assert first == Example([1, 2], [0, 1], {"advantages": [0.0, 1.0]})
    assert last == Example([2, 3, 4], [0, 0, 1], {"advantages": [1.0, 2.0, 3.0]})
    assert example.loss_weights.tolist() == [0, 1, 0, 1]
