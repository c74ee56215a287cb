"""Pages for app developers: `pipeline.json` as a chart, as tables, and as a class in Kotlin and one in Swift.

The words and the classes are in `templates/`; what depends on the run is filled in here.
"""

from __future__ import annotations

import json
import math
import pathlib
import string

from export import stages

NAMES = ("android.md", "ios.md")
_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_CLASS = "## The class\n\n"
_BYTES = {"float32": 4, "bool": 1}
# Whose keypoints, as the motion stage's inputs begin: how often they are found, and in what.
_OWNERS = {
    "source": ("once a source", "source picture"),
    "initial": ("once a clip", "first driving frame"),
    "driving": ("each driving frame", "driving frame"),
}
# How a language says it: formats, and the width of its indents.
_KOTLIN = {
    "indent": 4,
    "buffer": "val {name} = buffer({bytes}) // {told}",
    "given": '\n                "{name}" to {value},',
    "taken": '\n                "{name}" to {value},',
    "call": 'run(\n            "{stage}",\n            mapOf({given}\n            ),'
    "\n            mapOf({taken}\n            ),\n        )",
    "variant": "{name}(\n            mapOf({files}\n            ),\n            setOf({gpu}),\n        ),",
}
_SWIFT = {
    "indent": 2,
    "buffer": "var {name} = Data(count: {bytes})  // {told}",
    "given": '\n        "{name}": {value},',
    "taken": '\n    {value} = try runner.output(named: "{name}").data',
    "call": 'let runner = try run(\n      "{stage}",\n      [{given}\n      ]){taken}',
    "variant": "public static let {name} = Variant(\n      files: [{files}\n      ],\n      onGPU: [{gpu}])",
}


def write(folder: pathlib.Path) -> None:
    """Writes both pages beside the `pipeline.json` that they tell of.

    Args:
      folder: what `python -m export --to tflite` wrote.

    Raises:
      OSError: if there is no `pipeline.json`, or no room.
    """
    for name, text in make(json.loads((folder / "pipeline.json").read_text())).items():
        (folder / name).write_text(text)


def make(description: dict) -> dict[str, str]:
    """The pages by name, of what `pipeline.json` says; of files for several frames a call without the classes."""
    description = description | {"stages": {stage: description["stages"][stage] for stage in stages.NAMES}}
    words = _words(description)
    count = description["stages"]["detector"]["inputs"]["frame"]["shape"][0]
    words["chain"] = _filled("chain.md", words).strip()
    made = {name: _filled(name, words | _code(description, name)) for name in NAMES}
    if count in (None, 1):
        return made
    instead = f"These files take {count} driving frames a call. For a class export again with `--batch 1`.\n"
    return {name: text.partition(_CLASS)[0] + _CLASS + instead for name, text in made.items()}


def _filled(template: str, words: dict[str, str]) -> str:
    return string.Template((_TEMPLATES / template).read_text()).substitute(words)


def _words(description: dict) -> dict[str, str]:
    """What the sentences and both classes say."""
    (height, width), variants = description["frame_size"], list(description["variants"])
    detector, motion = (description["stages"][stage]["outputs"] for stage in ("detector", "motion"))
    return {
        "name": description["name"],
        "height": str(height),
        "width": str(width),
        "num_keypoints": str(description["num_keypoints"]),
        "parts": " and ".join(f"`{part}`" for part in detector),
        "moving": " and ".join(f"`{part}`" for part in motion),
        "relative": str(description["animate"]["mode"] == "relative").lower(),
        "adapt_scale": str(description["animate"]["adapt_scale"]).lower(),
        "for_gpu": next((name for name in ("float16", "float32") if name in variants), variants[0]),
        "for_cpu": next((name for name in ("dynamic", "float32") if name in variants), variants[0]),
        "open": "\n" + _filled("open.md", {}) if None in detector["value"]["shape"] else "",
        "chart": _chart(description),
        "tensors": _tensors(description),
        "files": _files(description),
    }


def _bytes(tensor: dict) -> int:
    """Of one frame, where the number of frames is open."""
    return math.prod(size or 1 for size in tensor["shape"]) * _BYTES[tensor["dtype"]]


def _shape(tensor: dict) -> str:
    return "[" + ", ".join("N" if size is None else str(size) for size in tensor["shape"]) + "]"


def _split(name: str) -> tuple[str, str] | None:
    """`driving_value` is the driving keypoints' `value`."""
    owner, _, part = name.partition("_")
    return (owner, part) if owner in _OWNERS and part else None


def _chart(description: dict) -> str:
    made_by = {name: stage for stage, told in description["stages"].items() for name in told["outputs"]}
    nodes, arrows = {}, {}
    for owner, (_, picture) in _OWNERS.items():
        nodes[owner] = [f'{owner}_picture(["{picture}"])', f'{owner}_detector["detector"]']
        arrows[f"{owner}_picture", f"{owner}_detector"] = ["frame"]
    for stage, told in description["stages"].items():
        if stage == "detector":
            continue
        once = stage in description["once_a_source"]
        nodes["source" if once else "driving"].append(f'{stage}["{stage}"]')
        for name in told["inputs"]:
            owned = _split(name)
            outside = "source_picture" if name == "source" else "switches"
            start = f"{owned[0]}_detector" if owned else made_by.get(name, outside)
            arrows.setdefault((start, stage), []).append(name)
    nodes["driving"] += ['switches(["switches"])', 'result(["animated frame"])']
    arrows["renderer", "result"] = list(description["stages"]["renderer"]["outputs"])
    lines = ["flowchart TD"]
    for owner, inside in nodes.items():
        often = _OWNERS[owner][0]
        lines += [f'  subgraph {often.replace(" ", "_")}["{often}"]', *(f"    {node}" for node in inside), "  end"]
    return "\n".join(lines + [f'  {start} -->|"{", ".join(names)}"| {end}' for (start, end), names in arrows.items()])


def _tensors(description: dict) -> str:
    lines = ["| stage | | tensor | shape | dtype | bytes |", "|---|---|---|---|---|---|"]
    for stage, told in description["stages"].items():
        for way in ("inputs", "outputs"):
            for name, tensor in told[way].items():
                count = f"{_bytes(tensor):,}" + (" N" if None in tensor["shape"] else "")
                lines.append(f"| {stage} | {way[:-4]} | `{name}` | {_shape(tensor)} | {tensor['dtype']} | {count} |")
    return "\n".join(lines)


def _files(description: dict) -> str:
    lines = [f"| variant | {' | '.join(stages.NAMES)} | GPU |", "|---" * (2 + len(stages.NAMES)) + "|"]
    for variant, files in description["variants"].items():
        cells = [f"`{files[stage]}`" for stage in stages.NAMES]
        lines.append(f"| {variant} | {' | '.join(cells)} | {', '.join(_on_gpu(files)) or 'none'} |")
    return "\n".join(lines)


def _on_gpu(files: dict[str, str]) -> list[str]:
    """The stages whose files a GPU delegate takes: float convolutions."""
    return [stage for stage in stages.CONVOLUTIONS if files[stage].endswith(("-float32.tflite", "-float16.tflite"))]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _code(description: dict, page: str) -> dict[str, str]:
    """What a class is filled with: buffers, calls of the stages, variants."""
    language, cased = (_KOTLIN, str.upper) if page == "android.md" else (_SWIFT, str)
    told, parts = description["stages"], description["stages"]["detector"]["outputs"]
    tensors = {name: each for stage in told.values() for way in stage.values() for name, each in way.items()}
    # Keypoints and switches are held otherwise.
    apart = {name for name, each in tensors.items() if each["dtype"] == "bool" or _split(name) or name in parts}

    def buffer(name: str) -> str:
        told = f"{_shape(tensors[name])} {tensors[name]['dtype']}"
        return language["buffer"].format(name=_camel(name), bytes=_bytes(tensors[name]), told=told)

    def lines(form: str, names: dict) -> str:
        values = {name: f"{_split(name)[0]}Keypoints.{_split(name)[1]}" for name in names if _split(name)}
        values |= {name: f"found.{name}" for name in names if name in parts}
        return "".join(form.format(name=name, value=values.get(name, _camel(name))) for name in names)

    variants = []
    for name, files in description["variants"].items():
        pairs = "".join(language["given"].format(name=stage, value=f'"{files[stage]}"') for stage in told)
        gpu = ", ".join(f'"{stage}"' for stage in _on_gpu(files))
        variants.append(language["variant"].format(name=cased(name), files=pairs, gpu=gpu))
    outer, inner = ("\n" + " " * language["indent"] * depth for depth in (1, 2))
    return {
        "buffers": outer.join(f"private {buffer(name)}" for name in tensors if name not in apart),
        "keypoints": inner.join(buffer(name) for name in parts),
        "parts_list": ", ".join(parts),
        "variants": inner.join(variants),
        "default_variant": cased(_words(description)["for_gpu"]),
    } | {
        f"run_{stage}": language["call"].format(
            stage=stage, given=lines(language["given"], ways["inputs"]), taken=lines(language["taken"], ways["outputs"])
        )
        for stage, ways in told.items()
    }
