"""Errors: one tree, drawn in the docstring, with nothing missing and everybody under the right parent."""

import inspect
import re

from liaoliao import errors


def drawn_tree() -> dict[str, str]:
    """Name to parent, as the docstring draws it: four columns a level."""
    path, tree = ["LiaoError"], {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ((?:│   |    )*)[├└]── (\w+)", line):
            depth = 1 + len(found[1]) // 4
            path = [*path[:depth], found[2]]
            tree[found[2]] = path[-2]
    return tree


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    classes = dict(inspect.getmembers(errors, inspect.isclass))
    parents = {name: cls.__mro__[1].__name__ for name, cls in classes.items() if name != "LiaoError"}
    assert drawn_tree() == parents
    assert "ContextLengthError" in parents and parents["ContextLengthError"] == "RequestError"
