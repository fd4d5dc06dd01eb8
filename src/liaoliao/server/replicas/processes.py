"""What Linux tells of the processes that were started here: who descends from whom, and where they listen.

    exposed(descendants())     ->  {"00000000": {4711}}     process 4711 listens on all addresses, here as /proc writes them

On other systems nothing is known, and the answers are empty.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"
_LOOPBACK = {
    "0100007F",  # 127.0.0.1
    "00000000000000000000000001000000",  # ::1
    "0000000000000000FFFF00000100007F",  # ::ffff:127.0.0.1
}


def descendants(root: int | None = None) -> set[int]:
    """Children of a process (this one), their children, and so on."""
    parents = dict(_parents())
    found, new = set[int](), {root or os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def listening(pids: set[int]) -> dict[str, set[int]]:
    """The addresses, in /proc's hex, at which these processes take TCP connections, and which of them do."""
    owners = {inode: pid for pid in pids for inode in _sockets(pid)}
    found: dict[str, set[int]] = {}
    for table in (_PROC / "net" / "tcp", _PROC / "net" / "tcp6"):
        for line in table.read_text(encoding="utf-8").splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[9]) in owners:
                found.setdefault(fields[1].partition(":")[0], set()).add(owners[int(fields[9])])
    return found


def exposed(pids: set[int]) -> dict[str, set[int]]:
    """Those of them that other machines can reach."""
    return {address: who for address, who in listening(pids).items() if address not in _LOOPBACK}


def _parents() -> Iterator[tuple[int, int]]:
    for folder in _PROC.glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has just ended
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            yield int(folder.name), int(parent)


def _sockets(pid: int) -> Iterator[int]:
    try:
        for link in (_PROC / str(pid) / "fd").iterdir():
            try:
                target = str(link.readlink())
            except FileNotFoundError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                yield int(target[8:-1])
    except OSError:  # it has just ended, or is somebody else's
        return
