"""The pages for app developers: complete, of this model, and in code that parses."""

import json
import pathlib
import re

import pytest
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift

from export import pages, pipeline, stages, tflite
from fomm_tf import checkpoint

_FOLDER = pathlib.Path(pages.__file__).parent
_GRAMMARS = {"kotlin": tree_sitter_kotlin, "swift": tree_sitter_swift}
_LANGUAGES = dict(zip(pages.NAMES, _GRAMMARS, strict=True))


def described(jacobian=True, occlusion=True, blend=False, batch=1, size=(64, 96), variants=None, **animate):
    """What `pipeline.json` says of such a model."""
    height, width = size
    points = {"value": [5, 2]} | ({"jacobian": [5, 2, 2]} if jacobian else {})
    moving = {"deformation": [batch, 16, 24, 2]} | ({"occlusion": [batch, 16, 24, 1]} if occlusion else {})
    keypoints = {
        f"{owner}_{part}": [count, *shape]
        for owner, count in {"source": 1, "driving": batch, "initial": 1}.items()
        for part, shape in points.items()
    }
    features, reduced = [1, 16, 24, 32], [1, 16, 24, 3]
    frames = [batch, height, width, 3]
    source = {"source": [1, height, width, 3]} if blend else {}
    warped = {"warped": [batch, *features[1:]]} | ({"warped_source": frames} if blend else {})
    shapes = {
        "source_encoder": ({"source": [1, *frames[1:]]}, {"features": features, "reduced": reduced}),
        "detector": ({"frame": frames}, {part: [batch, *shape] for part, shape in points.items()}),
        "motion": ({"reduced": reduced, "relative": [1], "adapt_scale": [1]} | keypoints, moving),
        "warp": ({"features": features} | moving | source, warped),
        "renderer": (warped, {"prediction": frames}),
    }

    def told(tensors):
        kinds = {name: "bool" if name in ("relative", "adapt_scale") else "float32" for name in tensors}
        return {name: {"shape": tensors[name], "dtype": kinds[name]} for name in sorted(tensors)}

    return {
        "name": "a-model",
        "frame_size": [height, width],
        "num_keypoints": 5,
        "animate": {"mode": "relative", "adapt_scale": False} | animate,
        "once_a_source": ["source_encoder", "detector"],
        "each_driving_frame": ["detector", "motion", "warp", "renderer"],
        "stages": {stage: {"inputs": told(ins), "outputs": told(outs)} for stage, (ins, outs) in shapes.items()},
        "variants": variants or tflite.files(),
    }


DESCRIPTIONS = {
    "full": described(),
    "absolute": described(mode="absolute", adapt_scale=True),
    "zeroth-order": described(jacobian=False),
    "no-occlusion": described(occlusion=False),
    "zeroth-order-no-occlusion": described(jacobian=False, occlusion=False),
    "blend-source": described(blend=True),
    "any-batch": described(batch=None),
    "one-variant": described(variants=tflite.files(["int8"])),
}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def table(text, heading):
    """The rows of the table that begins with such a cell."""
    lines = text[text.index(f"| {heading} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines[2:]]


def errors(node):
    """The places that a parser could make nothing of."""
    found = [node.start_point] if node.is_error or node.is_missing else []
    return found + [place for child in node.children for place in errors(child)]


@pytest.fixture(params=DESCRIPTIONS)
def description(request):
    return DESCRIPTIONS[request.param]


@pytest.fixture(params=pages.NAMES)
def page(request):
    return request.param


def test_every_tensor_has_a_row_and_a_place_in_the_code(description, page):
    text = pages.make(description)[page]
    code = "\n".join(blocks(text, _LANGUAGES[page]))
    rows = table(text, "stage")
    expected = []
    for stage, told in description["stages"].items():
        for way, tensors in (("in", told["inputs"]), ("out", told["outputs"])):
            for name, tensor in tensors.items():
                shape, count = str(tensor["shape"]).replace("None", "N"), 1 if tensor["dtype"] == "bool" else 4
                for size in tensor["shape"]:
                    count *= size or 1
                bytes_told = f"{count:,}" + (" N" if "N" in shape else "")
                expected.append([stage, way, name, shape, tensor["dtype"], bytes_told])
                assert f'"{name}"' in code
                if "_" not in name and tensor["dtype"] != "bool":
                    assert re.search(rf"\b{name} = \w+\((count: )?{count}\) *// {re.escape(shape)} float32", code)
    assert rows == expected


def test_every_file_is_named_where_it_is_listed_and_where_it_is_loaded(description, page):
    text = pages.make(description)[page]
    code = "\n".join(blocks(text, _LANGUAGES[page]))
    rows = {row[0]: row[1:] for row in table(text, "variant")}
    assert list(rows) == list(description["variants"])
    for variant, files in description["variants"].items():
        assert rows[variant][:5] == [files[stage] for stage in stages.NAMES]
        assert all(f'"{file}"' in code for file in files.values())
    gpu = {
        "float32": "source_encoder, detector, renderer",
        "float16": "source_encoder, detector, renderer",
        "dynamic": "detector",
        "int8": "detector",
    }
    assert {variant: row[5] for variant, row in rows.items()} == {variant: gpu[variant] for variant in rows}


def test_chart_takes_the_warp_stage_s_source_from_the_source_image(page):
    assert 'source_picture -->|"source"| warp' in pages.make(DESCRIPTIONS["blend-source"])[page]


@pytest.mark.parametrize("part", ["jacobian", "occlusion"])
def test_what_a_model_lacks_is_not_named(part, page):
    lacking = {"jacobian": "zeroth-order", "occlusion": "no-occlusion"}[part]
    assert part in pages.make(DESCRIPTIONS["full"])[page]
    assert part not in pages.make(DESCRIPTIONS[lacking])[page].lower()


def test_the_code_parses(description, page):
    language = _LANGUAGES[page]
    parser = tree_sitter.Parser(tree_sitter.Language(_GRAMMARS[language].language()))
    code = blocks(pages.make(description)[page], language)
    assert any("class Fomm" in block for block in code)
    for block in code:
        assert errors(parser.parse(block.encode()).root_node) == [], block


def test_every_arrow_of_the_chart_joins_nodes_that_are_there(description, page):
    (chart,) = blocks(pages.make(description)[page], "mermaid")
    first, *lines = [line.strip() for line in chart.splitlines()]
    assert first == "flowchart TD"
    arrows = [re.fullmatch(r'(\w+) -->\|"[\w, ]+"\| (\w+)', line) for line in lines if "-->" in line]
    nodes = [re.fullmatch(r'(\w+)(\[".+"\]|\(\[".+"\]\))', line) for line in lines if "-->" not in line and '"' in line]
    nodes = [node for node in nodes if node]
    groups = [line for line in lines if line.startswith("subgraph")]
    assert len(groups) == lines.count("end") == 3
    assert len(arrows) + len(nodes) + 2 * len(groups) == len(lines)
    names = {node[1] for node in nodes}
    assert len(names) == len(nodes)
    assert {end for arrow in arrows for end in arrow.groups()} == names
    assert set(stages.NAMES) - {"detector"} < names


def test_switches_are_set_as_the_run_says(page):
    full, absolute = (pages.make(DESCRIPTIONS[name])[page] for name in ("full", "absolute"))
    for text, relative, adapt_scale in ((full, "true", "false"), (absolute, "false", "true")):
        assert re.search(rf"var relative(: Boolean)? = {relative}$", text, re.MULTILINE)
        assert re.search(rf"var adaptScale(: Boolean)? = {adapt_scale}$", text, re.MULTILINE)


@pytest.mark.parametrize(("variants", "gpu", "cpu"), [(None, "float16", "dynamic"), (["int8"], "int8", "int8")])
def test_the_variant_for_each_processor_is_one_that_was_written(variants, gpu, cpu, page):
    text = pages.make(described(variants=variants and tflite.files(variants)))[page]
    assert f"On a GPU take `{gpu}`. On the CPU take `{cpu}`." in text


def test_files_for_several_frames_a_call_come_without_a_class(page):
    text = pages.make(described(batch=4))[page]
    assert "[4, 64, 96, 3]" in text and "`--batch 1`" in text and "class Fomm" not in text


def test_both_are_written_beside_the_description(tmp_path):
    (tmp_path / "pipeline.json").write_text(json.dumps(DESCRIPTIONS["full"]))
    pages.write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.glob("*.md")} == pages.make(DESCRIPTIONS["full"])


@pytest.fixture(scope="module")
def of_the_bundled_model():
    run = checkpoint.load(checkpoint.BUNDLED)
    return pages.make(pipeline.describe(stages.Stages(run.config, run.networks), "puppets-128", tflite.files()))


def test_the_pages_in_the_checkout_are_the_bundled_model_s(page, of_the_bundled_model):
    if of_the_bundled_model[page] != (_FOLDER / page).read_text():
        pytest.fail(f"export/{page} is stale: take the one that `python -m export --to tflite --out DIR` writes.")
