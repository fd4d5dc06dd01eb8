"""The OpenAPI schema tells the truth: what it allows is answered as it says, what it forbids is refused, never a 5xx."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from liaoliao.server.app import create_app
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings

Case = schemathesis.Case[Any]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 8


@pytest.fixture(scope="module")
def behind(tiny: ServedModel) -> FastAPI:
    """The app, under the name by which schemathesis calls it."""
    return create_app(Settings(allowed_hosts=(asgi.HOST, "testserver")), [tiny])


def operations(app: FastAPI) -> Iterator[Any]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        yield result.ok()


def examined(cases: Any, examine: Callable[[Case], int]) -> Counter[int]:
    """The statuses of some cases."""
    statuses = Counter[int]()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
    @given(case=cases)
    def each(case: Case) -> None:
        statuses[examine(case)] += 1

    each()
    return statuses


def test_what_the_schema_allows_is_answered_as_it_says(behind: FastAPI) -> None:
    def examine(case: Case) -> int:
        return case.call_and_validate(checks=CHECKS).status_code

    found = list(operations(behind))
    assert len(found) >= 14
    statuses = Counter[int]()
    for operation in found:
        statuses += examined(operation.as_strategy().map(_to_the_model_there_is), examine)
    assert set(statuses) <= {200, 400, 404}
    assert statuses[200] >= 2 * len(found)


def test_what_the_schema_forbids_is_refused(behind: FastAPI) -> None:
    def examine(case: Case) -> int:
        return case.call_and_validate(checks=[*CHECKS, negative_data_rejection]).status_code

    bodies = [operation for operation in operations(behind) if operation.method == "post"]
    assert len(bodies) >= 9
    for operation in bodies:
        mode = schemathesis.GenerationMode.NEGATIVE
        assert set(examined(operation.as_strategy(generation_mode=mode), examine)) <= {400}


def _to_the_model_there_is(case: Case) -> Case:
    """No name that is made up would be the right one."""
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = "tiny"
    if case.path_parameters and "model" in case.path_parameters:
        case.path_parameters["model"] = "tiny"
    return case
