"""What /openapi.json tells of the page is true: what it allows is answered as it says, what it forbids is refused."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import negative_data_rejection

from liaoliao.server.served import ServedModel
from tests.server.page.people import page
from tests.server.test_schema import CHECKS, operations

EXAMPLES = 4
REFUSALS = {400, 404, 409, 413, 422}


@pytest.fixture(scope="module")
def app(served: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """A page for one, under the name by which schemathesis calls it."""
    folder = tmp_path_factory.mktemp("schema")
    with page(served, folder, allowed_hosts=(asgi.HOST, "testserver")) as app:
        yield app


def examined(cases: Any, examine: Callable[[Any], int]) -> Counter[int]:
    """The statuses of some cases."""
    statuses = Counter[int]()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
    @given(case=cases)
    def each(case: Any) -> None:
        statuses[examine(case)] += 1

    each()
    return statuses


def of_the_page(app: FastAPI) -> list[Any]:
    found = [operation for operation in operations(app) if operation.path.startswith("/api")]
    assert len(found) >= 12
    return found


def test_what_the_schema_allows_is_answered_as_it_says(app: FastAPI) -> None:
    answered = 0
    for operation in of_the_page(app):
        statuses = examined(
            operation.as_strategy(), lambda case: int(case.call_and_validate(checks=CHECKS).status_code)
        )
        assert {status for status in statuses if status >= 300} <= REFUSALS, (operation.label, statuses)
        answered += any(status < 300 for status in statuses)
    assert answered >= 8


def test_what_the_schema_forbids_is_refused(app: FastAPI) -> None:
    checks = [*CHECKS, negative_data_rejection]
    for operation in of_the_page(app):
        if operation.body and operation.body[0].media_type == "application/json":
            cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
            statuses = examined(cases, lambda case: int(case.call_and_validate(checks=checks).status_code))
            assert set(statuses) <= REFUSALS, (operation.label, statuses)
