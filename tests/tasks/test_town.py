import numpy as np
import pytest

from liaoliao.chat.assistant import Assistant
from liaoliao.messages import Message
from liaoliao.tasks.town import TownQuestions, answers, f1
from liaoliao.town import KINDS, Question, QuestionKind, build_town, questions


def gold(asked: list[Question], wrong: set[int]) -> list[tuple[Message, ...]]:
    """Right replies, but to the questions of these numbers another's."""
    other = Message.assistant("?!")
    return [(other,) if i in wrong else question.gold for i, question in enumerate(asked)]


@pytest.fixture
def told(tiny: Assistant, monkeypatch: pytest.MonkeyPatch) -> Assistant:
    """Answers every fourth question wrongly, the others rightly."""

    def answers_of(
        assistant: object, asked: list[Question], *, progress: object = None
    ) -> list[tuple[Message, ...]]:
        return gold(asked, {i for i in range(len(asked)) if i % 4 == 0})

    monkeypatch.setattr("liaoliao.tasks.town.answers", answers_of)
    return tiny


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("unanswerable", "followup-nohistory")]
)
def test_three_of_four_right(told: Assistant, kind: QuestionKind) -> None:
    result = TownQuestions(kind, "zh").evaluate(told, limit=20)
    assert (result.name, result.metric, result.value, result.n) == (f"town:{kind}:zh", "accuracy", 0.75, 20)
    assert result.stderr == pytest.approx((0.25 * 0.75 / 19) ** 0.5)
    assert [sample.score for sample in result.samples] == [0, 0, 0, 1, 1]
    assert result.samples[0].reply == "assistant: ?!"


def test_refusals_are_measured_by_f1(told: Assistant) -> None:
    """A question that wanted a refusal and got none is a miss; precision stays 1."""
    result = TownQuestions("unanswerable", "en").evaluate(told, limit=60)
    asked = questions(build_town(), "unanswerable", "en", num=60, seed=0)
    wanted = sum(not question.answerable for question in asked)
    missed = sum(not question.answerable for question in asked[::4])
    assert 0 < missed < wanted < 60
    assert result.metric == "f1"
    assert result.details == {"precision": 1.0, "recall": (wanted - missed) / wanted}
    assert result.value == pytest.approx(2 * (wanted - missed) / (2 * wanted - missed))
    assert 0 < result.stderr < 0.2


def test_f1() -> None:
    given, wanted = np.array([1, 1, 1, 0], dtype=bool), np.array([1, 1, 0, 1], dtype=bool)
    assert f1(given, wanted) == pytest.approx(2 / 3)
    assert f1(~wanted, wanted) == 0
    assert f1(wanted & False, wanted & False) == 0


def test_a_model_is_asked_greedily_and_in_batches(roomy: Assistant) -> None:
    asked = questions(build_town(), "arithmetic", "en", num=6, seed=0)
    seen: list[tuple[int, int]] = []
    together = answers(roomy, asked, progress=lambda done, total: seen.append((done, total)))
    alone = [answers(roomy, [question])[0] for question in asked]
    assert together == alone
    assert all(reply[0].role == "assistant" for reply in together)
    assert seen[-1] == (6, 6)


def test_a_random_model_knows_nothing(roomy: Assistant) -> None:
    result = TownQuestions("facts", "en").evaluate(roomy, limit=8)
    assert (result.value, result.n) == (0.0, 8)


def test_seeds_ask_other_questions(roomy: Assistant) -> None:
    prompts = [
        [
            sample.prompt
            for sample in TownQuestions("arithmetic", "zh").evaluate(roomy, limit=3, seed=seed).samples
        ]
        for seed in (0, 0, 1)
    ]
    assert prompts[0] == prompts[1] != prompts[2]
