"""The job of the tab Animate, without the page: files, progress, the figure, and what it refuses."""

import threading

import disc_engine
import numpy as np
import pytest

from fomm_tf import cli, errors, video
from fomm_tf.app import animate_job, jobs, limits, models
from fomm_tf.cli import serving
from fomm_tf.inference import animate, motion_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return disc_engine.write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def job(tmp_path):
    return jobs.Job("owner", "model", tmp_path)


def run(job, source, driving, engine=None, bounds=limits.Limits(), **options):  # noqa: B008
    animated = disc_engine.load(engine)
    model = models.Loaded(animated.engine, animated.config)
    animate_job.animate(job, model, serving.prepare_animation, (str(source), str(driving)), options, bounds)


def columns(path):
    return [np.nonzero(frame[..., 0] > 128)[1].mean() for frame in video.open_video(path)]


def test_job_writes_what_the_command_writes(files, job):
    run(job, *files)
    np.testing.assert_allclose(columns(job.result), 24 + np.arange(12), atol=1)
    assert (job.frames, job.total) == (12, 12)


def test_job_draws_the_frame_that_is_farthest_from_the_first(files, job):
    run(job, *files)
    source, driving, result, _, _ = np.split(job.figure, 5, axis=1)
    assert np.nonzero((driving > 240).all(axis=2).any(axis=0))[0].size == 0  # dots are drawn on the disc
    assert abs(np.nonzero(result[..., 0] > 128)[1].mean() - 35) < 1
    assert source.shape == (64, 64, 3)


def test_job_takes_a_motion_file(files, job, tmp_path):
    animated = disc_engine.load()
    output = animate.Output(str(tmp_path / "out.mp4"), save_motion=str(tmp_path / "motion.npz"))
    clip = video.open_video(files[1])
    animate.animate_file(animated, str(files[0]), clip, output, animated.config.animate, progress=False)
    assert motion_files.is_motion_name(tmp_path / "motion.npz")
    run(job, files[0], tmp_path / "motion.npz")
    np.testing.assert_allclose(columns(job.result), 24 + np.arange(12), atol=1)
    assert job.figure.shape == (64, 64, 3)


def test_job_takes_a_video_as_source(files, job):
    run(job, files[1], files[1])
    assert job.frames == 12 and job.figure.shape == (64, 5 * 64, 3)


def test_job_draws_two_frames_and_the_result_of_an_engine_without_details(files, job):
    class Engine(disc_engine.DiscEngine):
        has_details = False

        def render(self, source, keypoints, details=False):
            assert not details
            return super().render(source, keypoints)._replace(mask=None)

    run(job, *files, Engine())
    source, driving, result = np.split(job.figure, 3, axis=1)
    assert (driving != source).any()
    assert abs(np.nonzero(result[..., 0] > 128)[1].mean() - 35) < 1


def test_job_keeps_its_own_links_to_uploads(files, job, tmp_path):
    """The uploads may be deleted meanwhile, to make space."""
    (tmp_path / "uploads").mkdir()
    source = tmp_path / "uploads" / "a.png"
    source.write_bytes(files[0].read_bytes())
    run(job, source, files[1])
    assert (job.folder / "source" / "a.png").read_bytes() == source.read_bytes()
    with pytest.raises(errors.UserError, match=r"gone\.png has been deleted from the server; choose it again"):
        run(jobs.Job("owner", "model", tmp_path / "uploads"), tmp_path / "gone.png", files[1])


def test_job_stops_between_batches(job, tmp_path_factory):
    files = disc_engine.write_files(tmp_path_factory.mktemp("three_batches"), count=24)
    engine = disc_engine.DiscEngine()
    engine.may_render.clear()
    failures = []

    def animated():
        try:
            run(job, *files, engine)
        except jobs.CancelledError as error:
            failures.append(error)

    thread = threading.Thread(target=animated)
    thread.start()
    engine.passes.release()
    while engine.calls < 8:
        engine.may_render.wait(0.01)
    job.cancelled.set()
    engine.may_render.set()
    thread.join()
    assert failures and not list(job.folder.glob("*.mp4"))


@pytest.mark.parametrize(
    ("options", "bounds", "match"),
    [
        ({}, {"frames": 5}, "more than 5 frames"),
        ({}, {"seconds": 0}, "expected at most 0 s"),
        ({"mode": "other"}, {}, "invalid choice"),
        ({"run": "elsewhere"}, {}, "unknown option"),
        ({"crop": "../x"}, {}, "expected a word or numbers"),
        ({"face": "all"}, {}, "needs detected faces"),
    ],
)
def test_job_refuses_options_and_limits(files, job, options, bounds, match):
    with pytest.raises(errors.UserError, match=match):
        run(job, *files, bounds=limits.Limits(**bounds), **options)
    assert not list(job.folder.glob("*.mp4"))


def test_job_gives_the_line_of_the_command(files, job, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_text("text")
    with pytest.raises(errors.UserError) as caught:
        run(job, files[0], tmp_path / "bad.mp4")
    line = ["--source", str(files[0]), "--driving", str(tmp_path / "bad.mp4"), "--out", str(tmp_path / "out.mp4")]
    assert cli.main(["animate", *line]) == 2
    printed = capsys.readouterr().err
    assert job.shorten(str(caught.value)) == printed.strip().removeprefix("fomm: ").replace(f"{tmp_path}/", "")
