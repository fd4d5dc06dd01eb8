"""GET /metrics: what Prometheus scrapes. Where keys are asked for, it needs one, too.

    scrape_configs: [{job_name: liaoliao, authorization: {credentials: KEY}, static_configs: [...]}]

What is in it: `server/metrics.py`.
"""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Counters and times in Prometheus' text format."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
