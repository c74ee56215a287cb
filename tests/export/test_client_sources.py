"""Kotlin and Swift sources: they parse, and use the names of a real `pipeline.json`."""

import pathlib
import re

import model_list
import pytest
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift

from fomm_tf import checkpoint, config, export
from fomm_tf.export import pipeline, stages, tflite

_FOLDER = pathlib.Path(export.__file__).parent
_GRAMMARS = {"kotlin": tree_sitter_kotlin, "swift": tree_sitter_swift}
_LANGUAGES = {"android": "kotlin", "ios": "swift"}
_SUFFIXES = {"kotlin": ".kt", "swift": ".swift"}
_KEYPOINT_PREFIXES = {"source_", "initial_", "driving_"}


def parse(language, code):
    return tree_sitter.Parser(tree_sitter.Language(_GRAMMARS[language].language())).parse(code.encode()).root_node


def errors(node):
    """The positions that a parser could not understand."""
    found = [node.start_point] if node.is_error or node.is_missing else []
    return found + [position for child in node.children for position in errors(child)]


def literals(node):
    """The string literals of a source that contain no interpolation."""
    if node.type in ("string_literal", "line_string_literal"):
        return {node.text.decode().strip('"')} if "$" not in node.text.decode() else set()
    return {text for child in node.children for text in literals(child)}


def names(value):
    """All keys and strings of a JSON value."""
    if isinstance(value, dict):
        return set(value) | {name for child in value.values() for name in names(child)}
    if isinstance(value, list | tuple):
        return {name for child in value for name in names(child)}
    return {value} if isinstance(value, str) else set()


def code_blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def description():
    run = checkpoint.build(config.Config(model=model_list.MODELS["tiny"]))
    return pipeline.describe(stages.Stages(run.config, run.model), "tiny", tflite.VARIANTS, tflite.SUFFIX)


@pytest.fixture(params=_LANGUAGES)
def platform(request):
    return request.param


def sources(platform):
    files = sorted((_FOLDER / platform).iterdir())
    assert {file.suffix for file in files} == {_SUFFIXES[_LANGUAGES[platform]]}
    return {file.name: parse(_LANGUAGES[platform], file.read_text()) for file in files}


def test_client_sources_parse(platform):
    for name, root in sources(platform).items():
        assert errors(root) == [], name


def test_client_pages_code_parses(platform):
    blocks = code_blocks((_FOLDER / f"{platform}.md").read_text(), _LANGUAGES[platform])
    assert blocks
    for block in blocks:
        assert errors(parse(_LANGUAGES[platform], block)) == [], block


def test_client_sources_use_names_of_pipeline_json(platform, description):
    known = names(description) | _KEYPOINT_PREFIXES
    used = {text for root in sources(platform).values() for text in literals(root)}
    used = {text for text in used if re.fullmatch(r"[a-z0-9_]+", text)}
    assert used <= known
    assert {"frame_size", "source_stages", "frame_stages", "convolution_stages", "stages", "quantization"} < used
    assert {"detector", "frame", "source", "prediction", "relative", "adapt_scale"} | _KEYPOINT_PREFIXES < used


def test_describe_lists_stages_in_an_order_that_has_their_inputs(description):
    """The order that the sources follow, with the prefixes that they give to keypoints."""
    for variant, kinds in description["quantization"].items():
        files = {stage: f"{stage}-{kind}.tflite" for stage, kind in kinds.items()}
        assert description["variants"][variant] == files
    known = {"source", "frame", "relative", "adapt_scale"}
    for stage in [*description["source_stages"], *description["frame_stages"]]:
        tensors = description["stages"][stage]
        assert set(tensors["inputs"]) <= known, stage
        known |= set(tensors["outputs"])
        if stage == "detector":
            known |= {prefix + name for prefix in _KEYPOINT_PREFIXES for name in tensors["outputs"]}
    assert "prediction" in known


def test_pipeline_page_chart_names_every_tensor(description):
    (chart,) = code_blocks((_FOLDER / "pipeline.md").read_text(), "mermaid")
    arrows = re.findall(r'^  (\w+) -->\|"([\w, ]+)"\| (\w+)$', chart, re.MULTILINE)
    nodes = re.findall(r"^    (\w+)[\[(]", chart, re.MULTILINE)
    assert {end for start, _, stop in arrows for end in (start, stop)} == set(nodes) and len(nodes) == len(set(nodes))
    charted = {name for _, tensors, _ in arrows for name in tensors.split(", ")}
    inputs = {name for stage in description["stages"].values() for name in stage["inputs"]}
    assert charted == inputs | {"prediction"}


def test_copy_client_sources_copies_sources_and_pages(tmp_path):
    tflite.copy_client_sources(tmp_path)
    copied = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {"android/Fomm.kt", "ios/Fomm.swift", "android.md", "ios.md", "pipeline.md"} < copied
    for page in tmp_path.glob("*.md"):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (tmp_path / link).exists(), f"{page.name}: {link}"
