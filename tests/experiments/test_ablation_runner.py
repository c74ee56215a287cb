"""How a run of an ablation is trained and evaluated, without training."""

import pathlib

import pytest

from fomm_tf import config, evaluation
from fomm_tf.experiments import ablation_plan, ablation_runner
from fomm_tf.training import loop


@pytest.mark.parametrize("is_started", [False, True])
@pytest.mark.parametrize("pairs", [None, "set/pairs.csv"])
def test_train_and_evaluate_resumes_and_animates_the_pairs_if_any(pairs, is_started, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(loop, "run", lambda settings, folder, **options: calls.append((settings, options["resume"])))
    monkeypatch.setattr(
        evaluation,
        "evaluate",
        lambda folder, data, out, settings, pairs=None: calls.append((str(data), out.name, settings.metrics, pairs)),
    )
    run = ablation_plan.Run("full", 0, config.Config(), tmp_path)
    if is_started:
        run.folder.mkdir(parents=True)
        (run.folder / "config.yaml").touch()
    pairs = pairs and pathlib.Path(pairs)
    data = ablation_plan.Data(pathlib.Path("set"), pairs, False)
    ablation_runner.train_and_evaluate(run, ablation_plan.Protocol(data, ("l1", "psnr"), "none", ""))
    trained, reconstruction, *animation = calls
    assert trained == ((None, True) if is_started else (run.config, False))
    assert reconstruction == ("set", "reconstruction", ("l1", "psnr"), None)
    # Not every pair has ground truth: distances between keypoints would compare different poses.
    assert animation == ([("set", "animation", ("l1",), pairs)] if pairs else [])
