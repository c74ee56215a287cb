"""ONNX files: contents, metadata, batch sizes and hostile inputs."""

import hostile_inputs
import numpy as np
import onnx
import pytest
import reports

from fomm_tf.export import VARIANTS, examples, runner
from fomm_tf.export import onnx as onnx_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(files_of):
    """The tiny model's float32 files, and the same with gathers."""
    return files_of("tiny", "onnx")[0], files_of("tiny", "onnx-gathers")[0]


def operations(file):
    return [node.op_type for node in onnx.load(file).graph.node]


# The graph is a larger share of a tiny model's file.
@pytest.mark.parametrize(
    ("model", "size_ratio"), [("tiny", 0.6), pytest.param("bundled", 0.55, marks=pytest.mark.conformance)]
)
def test_export_onnx_psnr(model, size_ratio, files_of):
    _, printed = files_of(model, "onnx")
    table = {row[0]: [float(cell) for cell in row[1:]] for row in reports.cells(printed)[1:]}
    assert list(table) == list(VARIANTS["onnx"])
    assert table["float32"][1] >= 70 and table["float16"][1] >= 45
    assert table["float32"][2] <= 0.01 and table["float16"][2] <= 0.5
    assert table["float16"][0] < size_ratio * table["float32"][0]


def test_warp_is_one_grid_sample_node_or_gathers(tiny):
    nodes, gathers = tiny
    for stage, warps in {"motion": 1, "warp": 1, "animate": 2, "detector": 0, "renderer": 0}.items():
        assert operations(nodes / f"{stage}-float32.onnx").count("GridSample") == warps
        assert "GridSample" not in operations(gathers / f"{stage}-float32.onnx")
    assert len(operations(gathers / "warp-float32.onnx")) > len(operations(nodes / "warp-float32.onnx"))


def test_files_are_valid_and_hold_metadata(tiny):
    for file in tiny[0].glob("*.onnx"):
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        (opset,) = (entry.version for entry in model.opset_import if entry.domain == "")
        assert opset == onnx_files.OPSET >= 17
        properties = {entry.key: entry.value for entry in model.metadata_props}
        assert (properties["name"], properties["frame_size"], properties["num_keypoints"]) == ("run", "[64, 64]", "5")
        assert properties["stage"] == file.name.split("-")[0] and len(properties["weights_sha256"]) == 64


@pytest.mark.parametrize("which", [0, 1])
def test_animate_accepts_any_number_of_frames(which, tiny):
    pipeline = runner.Pipeline(tiny[which])
    source, *clip = np.float32(examples.draw((64, 64), 4)) / 255
    expected = list(pipeline.animate(source, clip, relative=True, adapt_scale=True))
    frames = {"source": source[np.newaxis], "initial": clip[0][np.newaxis], "driving": np.stack(clip)}
    switches = {"relative": np.array([True]), "adapt_scale": np.array([True])}
    actual = pipeline.run("animate", frames | switches)["prediction"]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_pipeline_survives_hostile_keypoints(tiny):
    for place in tiny:
        hostile_inputs.check_survives(runner.Pipeline(place))


def test_pipeline_names_an_invalid_file(tiny, tmp_path):
    for file in tiny[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "detector-float32.onnx").write_bytes(b"no model")
    with pytest.raises(Exception, match=r"detector-float32\.onnx"):
        runner.Pipeline(tmp_path).detect(np.zeros([64, 64, 3], np.uint8))
