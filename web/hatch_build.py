"""Hatch's build hook: a wheel or source package carries the built chat page.

`pip install --editable .` does not build it: there `make` (or `python web/build.py`) does, and says so while it does.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface[Any]):
    """Builds web/ into the package before it is packed."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page, if it is not there and up to date. Raises BuildError."""
        if version != "editable":
            _builder(Path(self.root)).build()


def _builder(root: Path) -> ModuleType:
    """web/build.py, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("liaoliao_web_build", root / "web" / "build.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(root / "web" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
