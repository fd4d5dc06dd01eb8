"""The page: what a person's browser asks for, all of it under /api but the files of the page itself.

    entry = install_page(app, settings, store)      # create_app does this where it is given a store
    async with page_life(app): ...                  # while the app runs

    door, access, accounts, cookies, throttle       who asks
    conversations, messages, live, making           talk, and answers that go on when nobody listens
    xray, runs, models, following                   what happens inside; models that change while they are served
    files                                           the page itself
    tidying                                         what nobody needs any more

Errors are the envelopes of everywhere, bodies are strict. `door.Door`, which `protect.install` puts before all of /api,
decides who asks.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from liaoliao.server.page import (
    accounts,
    attachments,
    conversations,
    feedback,
    messages,
    models,
    personas,
    porting,
    runs,
    xray,
)
from liaoliao.server.page.door import Entry
from liaoliao.server.page.files import PageFiles, install_files
from liaoliao.server.page.following import following_life
from liaoliao.server.page.live import install_live
from liaoliao.server.page.throttle import Attempts
from liaoliao.server.page.tidying import keep_tidy
from liaoliao.server.settings import Settings
from liaoliao.store import Store

_ROUTES = (
    accounts, conversations, messages, models, feedback, attachments, personas, porting, xray, runs,
)  # fmt: skip


def install_page(app: FastAPI, settings: Settings, store: Store) -> Entry:
    """Put the page's routes and files into an app, and what they stand on into `app.state`; returns what decides who
    may enter. Needs `app.state.models` and `app.state.following`.

    `app.state.setup_code` is the word with which the first account of many is made.
    """
    app.state.settings, app.state.store = settings, store
    app.state.attempts, app.state.setup_code = Attempts(), secrets.token_urlsafe(12)
    app.state.page_files = files = PageFiles()
    install_live(app, settings, store)
    for routes in _ROUTES:
        app.include_router(routes.router)
    install_files(app, files)
    return Entry(settings, store, files)


@asynccontextmanager
async def page_life(app: FastAPI) -> AsyncIterator[None]:
    """What runs beside the requests, while the app does."""
    async with following_life(app):
        tidying = asyncio.create_task(keep_tidy(app.state.store))
        try:
            yield
        finally:
            tidying.cancel()
            await app.state.live.drain(app.state.settings.drain_timeout_s)  # answers need their engines
