"""Requests in, tokens out: one scheduler for the terminal, the API, evaluation and rollouts. It knows token
ids only.
"""

from liaoliao.engine.engine import Engine
from liaoliao.engine.request import Completion, FinishReason, Request, SamplingParams, TokenEvent

__all__ = ["Completion", "Engine", "FinishReason", "Request", "SamplingParams", "TokenEvent"]
