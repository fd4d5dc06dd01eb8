"""The examples of docs/guides/clients.md, run as they stand there against a server.

    python tests/clients/run.py http://127.0.0.1:8000 current             all whose client is installed
    python tests/clients/run.py http://127.0.0.1:8000 current LangChain   one
    python tests/clients/run.py --install .venv-clients                   an environment for each of them
    CLIENTS_VENVS=.venv-clients python tests/clients/run.py ...           and the clients from there

Each has an environment of its own because they ask for different versions of the same packages. Nothing but the
standard library is needed here: each example is a process of its own.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "docs" / "guides" / "clients.md"
TIMEOUT_S = 240
_SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# what an example needs, the client first, as last tried together
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "openai (Python)": ("openai==3.54.0",),
    "openai (Node)": (),  # package.json
    "anthropic": ("anthropic==2.12.0",),
    "LangChain": ("langchain-openai==1.7.3", "langchain-core==1.7.2"),
    "LlamaIndex": ("llama-index-llms-openai-like==0.8.1", "llama-index-embeddings-openai-like==0.4.0"),
    "LiteLLM": ("litellm==1.106.2",),
    "pydantic-ai": ("pydantic-ai-slim[openai]==2.68.0",),
    "llm": ("llm==0.36",),
    "lm-evaluation-harness": ("lm-eval[api]==0.4.13",),
}


@dataclass(frozen=True)
class Example:
    """The blocks of one section of the guide: (language, text)."""

    client: str
    blocks: tuple[tuple[str, str], ...]

    def pointed_at(self, url: str, model: str) -> "Example":
        """The same for another server and model."""
        return Example(
            self.client,
            tuple(
                (language, re.sub(r"\bcurrent\b", model, text.replace("http://127.0.0.1:8000", url)))
                for language, text in self.blocks
            ),
        )


@dataclass(frozen=True)
class Client:
    """One client: the interpreter that has it, and the folder where Node finds its packages."""

    name: str
    python: str
    node_folder: Path

    @property
    def version(self) -> str | None:
        """The version that is installed, or None."""
        if self.name == "openai (Node)":
            return self._node_version()
        names = [re.split(r"[\[=]", package)[0] for package in PACKAGES[self.name]]
        code = f"from importlib.metadata import version; print([version(name) for name in {names}][0])"
        found = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=False)
        return found.stdout.strip() if found.returncode == 0 else None

    def run(self, example: Example, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run an example in an empty folder; what it printed, its errors with it."""
        command: list[str] = []
        for language, text in example.blocks:
            if language == "python":
                command = [self.python, "-c", text]
            elif language == "javascript":
                script = self.node_folder / "example.mjs"
                script.write_text(text, encoding="utf-8")
                command = ["node", str(script)]
            elif language == "bash":
                command = ["bash", "-euo", "pipefail", "-c", text]
            else:
                (folder / _yaml_name(text)).write_text(text, encoding="utf-8")
        return subprocess.run(
            command, cwd=folder, env=self._environment(folder), timeout=TIMEOUT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
        )  # fmt: skip

    def _environment(self, folder: Path) -> dict[str, str]:
        """This one, without keys and settings of the person, and with no way out to the Internet."""
        bin_folder = str(Path(self.python).absolute().parent)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENAI_", "ANTHROPIC_"))
        }
        return {
            **kept,
            "PATH": os.pathsep.join((bin_folder, os.environ.get("PATH", ""))),
            "HOME": str(folder), "LLM_USER_PATH": str(folder), "HF_HOME": str(folder / "hf"),
            "HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LLM_LOAD_PLUGINS": "",
            "OPENAI_API_KEY": "none", "PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "ignore",
            "http_proxy": "", "https_proxy": "", "HTTP_PROXY": "", "HTTPS_PROXY": "", "ALL_PROXY": "",
        }  # fmt: skip

    def _node_version(self) -> str | None:
        """The version of the package, which is installed if it is not there yet and can be."""
        if shutil.which("node") is None or shutil.which("npm") is None:
            return None
        package = self.node_folder / "node_modules" / "openai" / "package.json"
        if not package.exists():
            self.node_folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / "package.json", self.node_folder)
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
            subprocess.run(command, cwd=self.node_folder, capture_output=True, check=False, timeout=TIMEOUT_S)
        if not package.exists():
            return None
        found = re.search(r'"version": *"([^"]+)"', package.read_text(encoding="utf-8"))
        return found[1] if found else None


def examples() -> Iterator[Example]:
    """The sections of the guide that hold code."""
    for title, body in _SECTION.findall(GUIDE.read_text(encoding="utf-8")):
        blocks = tuple((language, text) for language, text in _BLOCK.findall(body))
        if blocks:
            yield Example(title, blocks)


def _yaml_name(text: str) -> str:
    return "extra-openai-models.yaml" if "model_id:" in text else "my-texts.yaml"


def find(name: str) -> Client:
    """The client, from the environment of its own if there is one, else from this one."""
    own = _own_python(Path(os.environ.get("CLIENTS_VENVS", "nowhere")), name)
    node_folder = Path(tempfile.gettempdir()) / f"liaoliao-clients-node-{os.getuid()}"
    return Client(name, str(own.absolute() if own.exists() else sys.executable), node_folder)


def _own_python(folder: Path, name: str) -> Path:
    return folder / re.sub(r"\W+", "-", name.lower()).strip("-") / "bin" / "python"


def install(folder: Path) -> int:
    """Make an environment for each client that has none yet."""
    for name, packages in PACKAGES.items():
        python = _own_python(folder, name)
        if packages and not python.exists():
            print(f"==> {name}")
            venv.create(python.parents[1], with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return 0


def try_all(url: str, model: str, *wanted: str) -> int:
    """Run the examples, and print a line for each. The number of those that failed."""
    num_failed = 0
    for example in examples():
        if wanted and example.client not in wanted:
            continue
        client = find(example.client)
        version = client.version
        if version is None:
            print(f"{example.client:24} not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = client.run(example.pointed_at(url, model), Path(folder))
        num_failed += done.returncode != 0
        print(f"{example.client:24} {version:12} {'failed' if done.returncode else 'works'}")
        if done.returncode or wanted:
            print(done.stdout)
    return num_failed


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--install", folder]:
            sys.exit(install(Path(folder)))
        case [url, model, *wanted] if not url.startswith("-"):
            sys.exit(try_all(url, model, *wanted))
    sys.exit("usage: run.py URL MODEL [CLIENT ...]\n       run.py --install FOLDER")
