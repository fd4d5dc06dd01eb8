"""Errors: one tree, drawn in the docstring, with nothing missing."""

import inspect

from liaoliao import errors


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    classes = dict(inspect.getmembers(errors, inspect.isclass))
    assert all(issubclass(cls, errors.LiaoError) for cls in classes.values())
    drawn = [
        line.split()[1] for line in (errors.__doc__ or "").splitlines() if line.strip()[:3] in ("├──", "└──")
    ]
    assert sorted([*drawn, "LiaoError"]) == sorted(classes)
