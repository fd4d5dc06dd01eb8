"""A model as replicas serve it: the text half in this process, the engines in theirs.

served = served_replicas("current", 2, dtype="int8", on_progress=print)
app = create_app(settings, [served])                       # the same app as before one engine
"""

import math
from pathlib import Path

from liaoliao.chat.assistant import load_text
from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.engine.load import OnProgress, RunnerDtype
from liaoliao.engine.speculate import DRAFTS
from liaoliao.errors import LiaoError, UsageError
from liaoliao.model.registry import resolve
from liaoliao.server.replicas.front import ReplicatedEngine
from liaoliao.server.replicas.on_ray import start_replicas
from liaoliao.server.replicas.recipes import RecipeGrammars
from liaoliao.server.replicas.wire import ReplicaPlan
from liaoliao.server.served import ServedModel, served_by


def served_replicas(
    model: str | Path,
    num_replicas: int,
    *,
    dtype: RunnerDtype = "auto",
    device: str = "auto",
    max_running: int = 64,
    max_waiting: int = 256,
    speculate: int | None = None,
    on_progress: OnProgress = lambda line: None,
) -> ServedModel:
    """Load a registered name or a model folder into so many replicas; in a cluster, every machine must have the folder.

    `max_running` and `speculate` are for each replica, `max_waiting` for all together. Raises UsageError and
    CheckpointError as `served.served_model` does, and what `on_ray.start_replicas` raises.
    """
    if num_replicas < 1:
        raise UsageError(f"--replicas must be at least 1, not {num_replicas}")
    folder = resolve(model).absolute()
    text = load_text(folder)
    grammars = RecipeGrammars(GrammarCompiler(text.tokenizer, text.template.stop_ids))
    share = math.ceil(max_waiting / num_replicas)
    drafts = DRAFTS if speculate is None else speculate
    plan = ReplicaPlan(folder, dtype, device, max_running, share, drafts)
    replicas, stop = start_replicas(plan, num_replicas, on_progress=on_progress)
    try:
        return served_by(ReplicatedEngine(replicas, on_close=stop), model, text, grammars)
    except LiaoError:
        stop()
        raise
