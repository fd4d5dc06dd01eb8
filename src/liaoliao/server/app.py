"""The application: models and settings in, a FastAPI app out. `serve` runs it, tests drive it in process.

    app = create_app(Settings(), [served_model("current")])                         # the API alone
    app = create_app(Settings(), [served_model("current")], store=Store.open())     # with the page

Nothing of it lives in module globals: two apps in one process do not know of each other. Routes find their
model in `app.state.models` through `served.pick`, anew for each request: one that is served under a registered name
follows it while the app runs (`page.following`). The models and the store belong to the caller, who closes them.
"""

from collections.abc import Sequence

from fastapi import FastAPI

from liaoliao import __version__
from liaoliao.errors import UsageError
from liaoliao.server.failures import install_failures
from liaoliao.server.page import install_page, page_life
from liaoliao.server.page.following import following_life, install_following
from liaoliao.server.page.loading import LoadOptions
from liaoliao.server.protect import install
from liaoliao.server.retrieval import RetrievalModel
from liaoliao.server.routes import chat, completions, embeddings, messages, models, responses, tokens
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from liaoliao.server.sse import PING_EVERY_S
from liaoliao.store import Store

_ROUTERS = (chat, completions, embeddings, messages, models, responses, tokens)
_ABOUT = """An OpenAI-compatible server for language models, with Anthropic's messages beside it. What a route does not
support it refuses by name. Errors are `{"error": {"message", "type", "param", "code"}}`."""


def create_app(
    settings: Settings,
    served: Sequence[ServedModel],
    *,
    retrieval: RetrievalModel | None = None,
    store: Store | None = None,
    loading: LoadOptions | None = None,
    ping_every_s: float = PING_EVERY_S,
) -> FastAPI:
    """The app that serves these models, with a store also the page; `retrieval` answers /v1/embeddings under its own
    name. `loading` says how models are loaded that come later: what a name stands for next, and what people of the page
    ask for. A stream that is silent for `ping_every_s` gets a comment to keep it open.

    Raises UsageError for two models of one name or accounts without a store, and what `protect.install` raises.
    """
    has_page = store is not None and settings.shows_page
    app = FastAPI(
        title="liaoliao", version=__version__, description=_ABOUT, redirect_slashes=False,
        docs_url=None, redoc_url=None,  # these pages load scripts from elsewhere
        lifespan=page_life if has_page else following_life,
    )  # fmt: skip
    app.state.models = {model.id: model for model in served}
    app.state.retrieval = {} if retrieval is None else {retrieval.id: retrieval}
    app.state.ping_every_s = ping_every_s
    if len({*app.state.models, *app.state.retrieval}) < len(served) + len(app.state.retrieval):
        raise UsageError("two models have the same name; register one under another")
    if settings.multi_user and store is None:
        raise UsageError("multi_user needs a store, in which the accounts are")
    install_failures(app)
    options = LoadOptions(
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        speculate=settings.speculate,
    )
    install_following(app, loading or options)
    for routes in _ROUTERS:
        app.include_router(routes.router)
    install(app, settings, install_page(app, settings, store) if store is not None and has_page else None)
    return app
