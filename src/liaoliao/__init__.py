"""liaoliao (聊聊): your own ChatGPT from nothing. Train it, talk to it, look inside, let it learn.

    import liaoliao
    assistant = liaoliao.load("current")
    print(assistant.chat([liaoliao.Message.user("你好")]).text)

The names here are loaded when they are first used, so that `import liaoliao` itself costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liaoliao.chat.assistant import Assistant, load
    from liaoliao.errors import LiaoError
    from liaoliao.messages import Conversation, Message, Tool

    __version__: str

__all__ = ["Assistant", "Conversation", "LiaoError", "Message", "Tool", "__version__", "load"]

_HOME_OF = {
    "Assistant": "liaoliao.chat.assistant",
    "Conversation": "liaoliao.messages",
    "LiaoError": "liaoliao.errors",
    "Message": "liaoliao.messages",
    "Tool": "liaoliao.messages",
    "load": "liaoliao.chat.assistant",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("liaoliao")
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'liaoliao' has no attribute {name!r}")
