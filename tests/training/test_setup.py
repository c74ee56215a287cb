"""`setup.prepare`: data, weights, feature scales, and errors."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from fomm_tf import config, errors, video
from fomm_tf.training import setup

pytestmark = pytest.mark.slow


def prepare(settings, strategy, **changes):
    lines = []
    session = setup.prepare(
        settings, strategy, **{"resume_from": None, "init_from": None, "report": lines.append, **changes}
    )
    return session, lines


def prepare_error(settings, strategy, **changes):
    with pytest.raises(errors.UserError) as caught:
        prepare(settings, strategy, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_prepare_initial_weights_are_a_function_of_the_seed(make_config, one_replica):
    def weights(*overrides):
        session, _ = prepare(make_config(*overrides), one_replica)
        return np.concatenate([np.ravel(weight) for weight in session.run.model.get_weights()])

    first = weights()
    assert np.array_equal(first, weights()) and not np.array_equal(first, weights("train.seed=1"))


def test_prepare_rejects_keypoint_settings_of_models_without_keypoints(make_config, one_replica):
    x2face = ["model.kind=x2face", "model.jacobian=false", "model.occlusion=false"]
    for key, value in (("train.freeze_detector", "true"), ("train.landmark_steps", "5")):
        assert key in prepare_error(make_config(*x2face, f"{key}={value}"), one_replica)


def test_prepare_measures_feature_scales_once(make_config, one_replica):
    session, _ = prepare(make_config(), one_replica)
    scales = session.settings.train.feature_scales
    assert len(scales) == 5 and min(scales) > 0
    again, _ = prepare(make_config(), one_replica)
    assert again.settings.train.feature_scales == scales
    session, _ = prepare(make_config("train.feature_scales=[1,2,3,4,5]"), one_replica)
    assert session.settings.train.feature_scales == (1, 2, 3, 4, 5)
    assert config.parse(__import__("yaml").safe_load(config.dump(session.settings))) == session.settings


def test_prepare_skips_and_names_unusable_videos(make_config, one_replica, puppets, tmp_path):
    root = shutil.copytree(puppets, tmp_path / "data", ignore=shutil.ignore_patterns(".fomm-cache"))
    (root / "train" / "broken.mp4").write_bytes(b"no video" * 100)
    video.write_image(root / "train" / "single" / "0.png", np.zeros([32, 32, 3], np.uint8))
    with pytest.warns(UserWarning, match="skipped") as caught:
        session, lines = prepare(make_config(f"data.root={root}"), one_replica)
    skipped = [str(warning.message) for warning in caught if "skipped" in str(warning.message)]
    assert len(skipped) == 2 and "broken.mp4" in skipped[0] and "single has one frame" in skipped[1]
    assert len(session.train) == 6 and "6 clips of 6 identities, 36 frames (2 skipped) to train on" in lines[0]


def test_prepare_rejects_empty_data_set(make_config, one_replica, tmp_path):
    (tmp_path / "train").mkdir()
    assert "no usable train clip" in prepare_error(make_config(f"data.root={tmp_path}"), one_replica)
    assert "is not a directory" in prepare_error(make_config(f"data.root={tmp_path}/absent"), one_replica)


def test_prepare_without_test_clips_trains(make_config, one_replica, puppets, tmp_path):
    shutil.copytree(puppets / "train", tmp_path / "train")
    session, lines = prepare(make_config(f"data.root={tmp_path}"), one_replica)
    assert session.test is None and "no best checkpoint" in lines[1]


def test_puppets_are_drawn_where_there_are_none_yet(make_config, one_replica, tmp_path):
    overrides = ["data.puppets.identities=3", "data.puppets.test_identities=1", "data.puppets.clips=2"]
    settings = make_config(f"data.root={tmp_path / 'new'}", *overrides, "data.puppets.frames=3")
    session, lines = prepare(settings, one_replica)
    assert (len(session.train), len(session.test)) == (6, 2) and "drawing it" in lines[0]
    assert "drawing it" not in prepare(settings, one_replica)[1][0]


def test_prepare_rejects_indivisible_batch(make_config, two_replicas):
    message = prepare_error(make_config("train.batch_size=5"), two_replicas)
    assert message == "train.batch_size must be a multiple of 2, the number of replicas; got 5."


def test_prepare_rejects_xla_on_several_replicas(make_config, two_replicas):
    assert "train.xla compiles the step of one replica; got 2" in prepare_error(
        make_config("train.xla=true"), two_replicas
    )


def test_prepare_rejects_unknown_backbone(make_config, one_replica):
    assert "vgg19" in prepare_error(make_config("train.backbone=vgg16"), one_replica)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_prepare_under_mixed_precision_keeps_float32_variables(precision, make_config, one_replica):
    session, _ = prepare(make_config(f"train.precision={precision}"), one_replica)
    kernel = session.run.model.generator.final.kernel
    assert kernel.dtype == "float32" and session.run.model.generator.final.compute_dtype == precision
    assert hasattr(session.run.optimizers["generator"], "loss_scale") == (precision == "float16")
    plain, _ = prepare(make_config(), one_replica)
    assert plain.run.model.generator.final.compute_dtype == "float32"


def test_prepare_draws_puppets_in_no_job_of_several_workers(make_config, tmp_path):
    settings = make_config(f"data.root={tmp_path / 'new'}", "data.puppets.identities=3")
    with pytest.raises(errors.UserError) as caught:
        setup._load_data(settings, False, pytest.fail, None)
    assert str(caught.value) == (
        f"data.root {tmp_path / 'new'} does not exist, and several workers would draw it at once; draw it first with "
        "python -m fomm_tf.data.puppets."
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("error", "is_mistake"),
    [
        (ValueError("no port\nmore"), True),
        (KeyError("index"), True),
        (tf.errors.InvalidArgumentError(None, None, "no port\nmore"), True),
        (tf.errors.UnavailableError(None, None, "one:1"), False),
        (None, False),
    ],
)
def test_choose_strategy_reads_tf_config_and_names_mistakes_in_it(error, is_mistake, monkeypatch):
    def create():
        if error:
            raise error
        return "workers"

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", create)
    monkeypatch.setenv("TF_CONFIG", "{}")
    if error is None:
        assert setup.choose_strategy() == "workers"
        return
    with pytest.raises(errors.UserError if is_mistake else type(error)) as caught:
        setup.choose_strategy()
    if is_mistake:
        message = str(caught.value)
        assert message.startswith("TF_CONFIG cannot be used: ") and '{"cluster": {"worker": ' in message
        assert ("no port; expected" if "port" in str(error) else "'index'; expected") in message
