"""docs/train.ipynb, with tiny settings."""

import json
import pathlib

import processes
import pytest

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "docs" / "train.ipynb"
TINY = """
DATA, IDENTITIES, BACKBONE = "outputs/notebook/data", 4, "random"
EPOCHS, STEPS_PER_EPOCH = 2, 1
"""


@pytest.mark.slow
def test_notebook_trains_saves_and_animates(tmp_path):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    parameters, *others = cells
    assert parameters["metadata"]["tags"] == ["parameters"]
    names = {line.split(" = ")[0] for line in parameters["source"]}
    assert {name for line in names for name in line.split(", ")} == {
        *("DATA", "IDENTITIES", "BACKBONE", "EPOCHS", "STEPS_PER_EPOCH")
    }
    code = "\n".join([TINY, *("".join(cell["source"]) for cell in others), "print(model.evaluate(test, verbose=0))"])
    done = processes.run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Epoch 2/2" in done.stdout and "val_l1_over_source_copy" in done.stdout
    written = {path.name for path in (tmp_path / "outputs" / "notebook").iterdir()}
    assert written >= {"data", "best.weights.h5", "log.csv", "board", "model.keras"}
