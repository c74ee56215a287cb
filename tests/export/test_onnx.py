"""ONNX files: what is in them, and how they are called."""

import nonsense
import numpy as np
import onnx
import pytest
import reports

from export import VARIANTS, examples, runner
from export import onnx as onnx_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(run_folder, export, tmp_path_factory):
    """The tiny model's float32 files, and the same with gathers."""
    place = tmp_path_factory.mktemp("onnx")
    line = ["--run", run_folder("tiny"), "--to", "onnx", "--variants", "float32", "--out"]
    export([*line, place / "nodes"], [*line, place / "gathers", "--no-grid-sample"])
    return place / "nodes", place / "gathers"


def operations(file):
    return [node.op_type for node in onnx.load(file).graph.node]


def test_the_command_s_table_of_the_bundled_model(bundled_files):
    _, printed = bundled_files("onnx")
    table = {row[0]: [float(cell) for cell in row[1:]] for row in reports.cells(printed)[1:]}
    assert list(table) == list(VARIANTS["onnx"])
    assert table["float32"][1] >= 70 and table["float16"][1] >= 45
    assert table["float32"][2] <= 0.01 and table["float16"][2] <= 0.5
    assert table["float16"][0] < 0.55 * table["float32"][0]


def test_a_warp_is_one_node_or_gathers(tiny):
    nodes, gathers = tiny
    for stage, warps in {"motion": 1, "warp": 1, "animate": 2, "detector": 0, "renderer": 0}.items():
        assert operations(nodes / f"{stage}-float32.onnx").count("GridSample") == warps
        assert "GridSample" not in operations(gathers / f"{stage}-float32.onnx")
    assert len(operations(gathers / "warp-float32.onnx")) > len(operations(nodes / "warp-float32.onnx"))


def test_files_are_checked_and_say_what_they_are(tiny):
    for file in tiny[0].glob("*.onnx"):
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        (opset,) = (entry.version for entry in model.opset_import if entry.domain == "")
        assert opset == onnx_files.OPSET >= 17
        told = {entry.key: entry.value for entry in model.metadata_props}
        assert (told["name"], told["frame_size"], told["num_keypoints"]) == ("run", "[64, 64]", "5")
        assert told["stage"] == file.name.split("-")[0] and len(told["weights_sha256"]) == 64


@pytest.mark.parametrize("which", [0, 1])
def test_any_number_of_frames_at_once_or_one_by_one(which, tiny):
    pipeline = runner.Pipeline(tiny[which])
    source, *clip = np.float32(examples.draw((64, 64), 4)) / 255
    expected = list(pipeline.animate(source, clip, relative=True, adapt_scale=True))
    frames = {"source": source[np.newaxis], "initial": clip[0][np.newaxis], "driving": np.stack(clip)}
    switches = {"relative": np.array([True]), "adapt_scale": np.array([True])}
    made = pipeline.run("animate", frames | switches)["prediction"]
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_nonsense_never_ends_the_process_and_the_next_frame_is_good(tiny):
    for place in tiny:
        nonsense.check_survives(runner.Pipeline(place))


def test_a_file_that_is_none_is_named(tiny, tmp_path):
    for file in tiny[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "detector-float32.onnx").write_bytes(b"no model")
    with pytest.raises(Exception, match=r"detector-float32\.onnx"):
        runner.Pipeline(tmp_path).detect(np.zeros([64, 64, 3], np.uint8))
