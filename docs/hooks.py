"""Hooks of mkdocs: a page of the API reference per package, generated from the packages that exist."""

import pathlib

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_TOP = "fomm_tf"
# The command line is described by the other pages and by `--help`.
_LEFT_OUT = {"cli"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages to the navigation, below `reference/index.md`."""
    config.nav.append({"API reference": ["reference/index.md", *(f"reference/{name}.md" for name in _packages())]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for name in _packages():
        files.append(File.generated(config, f"reference/{name}.md", content=_page(name)))
    return files


def _packages() -> list[str]:
    """Dotted names of all packages with a page."""
    inner = sorted(path.parent.name for path in (_ROOT / _TOP).glob("*/__init__.py"))
    return [_TOP, *(f"{_TOP}.{name}" for name in inner if name not in _LEFT_OUT)]


def _page(package: str) -> str:
    # The page of `fomm_tf` has the modules beside its packages.
    folder = _ROOT.joinpath(*package.split("."))
    files = folder.glob("*.py") if package == _TOP else folder.rglob("*.py")
    names = sorted(".".join(path.relative_to(_ROOT).with_suffix("").parts) for path in files)
    parts = [f"# {package}"]
    for name in names:
        if name.endswith(".__init__"):
            # Names that a package imports from its modules appear with the module.
            name = name.removesuffix(".__init__")
            heading = str(name != package).lower()
            options = f"members: false\n      show_root_heading: {heading}\n      show_root_toc_entry: {heading}"
            parts.append(f"::: {name}\n    options:\n      {options}")
        elif not name.endswith(".__main__"):
            parts.append(f"::: {name}")
    return "\n\n".join(parts) + "\n"
