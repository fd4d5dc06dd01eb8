"""A program that writes to a store as fast as it can, and says of each thing when it was acknowledged; to be killed.

python -m tests.store.writer URL
    message 01K… 0-17           this message was acknowledged, with this text
    partial 01K… 3              the first three tokens of this reply were
    finished 01K… 5             this reply was, with five tokens
"""

import os
import sys
import threading
from itertools import count

from liaoliao.messages import Message
from liaoliao.store import Store

TOKENS = 5


def say(*words: object) -> None:
    """In one write: what others say at the same time stays apart."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def talk(store: Store, account_id: str, name: int) -> None:
    """One message below the other, without end."""
    conversation_id = store.create_conversation(account_id, title=f"talk {name}").id
    parent_id = None
    for number in count():
        text = f"{name}-{number}"
        parent_id = store.add_message(account_id, conversation_id, Message.user(text), parent_id).id
        say("message", parent_id, text)


def reply(store: Store, account_id: str) -> None:
    """One reply after the other, token by token."""
    conversation_id = store.create_conversation(account_id, title="replies").id
    asked = store.add_message(account_id, conversation_id, Message.user("?"), None).id
    while True:
        id = store.begin_generation(
            account_id, conversation_id, asked, model="m", model_version="v", params={}
        ).id
        say("partial", id, 0)
        for number in range(1, TOKENS):
            store.save_partial(id, Message.assistant("x" * number), range(number))
            say("partial", id, number)
        store.finish_generation(id, Message.assistant("x" * TOKENS), "done", token_ids=range(TOKENS))
        say("finished", id, TOKENS)


def main() -> None:
    """Until somebody ends it."""
    store = Store.open(sys.argv[1])
    account_id = store.single_account().id
    threads = [threading.Thread(target=talk, args=(store, account_id, name)) for name in range(2)]
    threads.append(threading.Thread(target=reply, args=(store, account_id)))
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
