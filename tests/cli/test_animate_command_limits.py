"""`fomm animate` on a full disk, when it is interrupted, and with a long video."""

import errno
import json
import resource
import signal
import subprocess
import sys

import drawn_heads
import faces
import processes
import pytest
from animate_lines import assert_user_error, folder_of

from fomm_tf import checkpoint, video


@pytest.mark.slow
def test_animate_leaves_nothing_on_full_disk(arguments, tmp_path):
    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    command = [sys.executable, "-m", "fomm_tf", *arguments()]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_file_size, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "out.mp4" in done.stderr
    assert folder_of(tmp_path) == []


def test_full_disk_is_reported_in_one_line(monkeypatch, capsys, run_folder):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr(checkpoint, "read_config", fail)
    assert_user_error(capsys, ["info", str(run_folder)], "x cannot be written: No space left on device")


# Prints a line when the third frame is written, and waits for a signal at the 1000th.
INTERRUPTED = """
import sys, threading
from fomm_tf import cli
from fomm_tf.video import writing

write, count = writing.VideoWriter.write, 0

def count_and_write(self, frame):
    global count
    count += 1
    if count == 3:
        print("writing", flush=True)
    if count == 1000:
        threading.Event().wait()
    write(self, frame)

writing.VideoWriter.write = count_and_write
sys.exit(cli.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_animate_leaves_nothing_when_interrupted(arguments, stop, inputs, tmp_path):
    frames = list(drawn_heads.draw_clip(96, 100))
    with video.write_video(tmp_path / "long.mp4", 25) as writer:
        for frame in 20 * frames:
            writer.write(frame)
    process = processes.start("-c", INTERRUPTED, *arguments(driving=tmp_path / "long.mp4"), "--batch-size", "1")
    assert process.stdout.readline().startswith("device")
    assert process.stdout.readline() == "writing\n", process.communicate()
    assert any(name.startswith(".") for name in folder_of(tmp_path))
    process.send_signal(stop)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err and len(err.strip().splitlines()) == 1
    assert folder_of(tmp_path) == ["long.mp4"]


MEASURE_MEMORY = """
import json, sys
from fomm_tf import video
from fomm_tf.inference import animate, animator

run, source, driving, out = sys.argv[1:]
clip, passes = video.open_video(driving, duration=100), []

class CountingClip:
    def __getattr__(self, name):
        return getattr(clip, name)
    def __iter__(self):
        passes.append([])
        for number, frame in enumerate(clip):
            if number % 100 == 0:
                with open("/proc/self/statm") as file:
                    passes[-1].append(int(file.read().split()[1]) * 4096)
            yield frame

model = animator.Animator.load(run)
motion = animate.MotionOptions(best_frame=1000)
count = animate.animate_file(
    model, source, CountingClip(), animate.Output(out), model.config.animate, motion, batch_size=16
)
print(json.dumps({"count": count, "passes": passes}))
"""


@pytest.mark.slow
@pytest.mark.network
def test_animate_memory_is_flat_over_long_video(run_folder, astronaut, tmp_path):
    clip = faces.faces()["franck.mp4"]
    done = processes.run("-c", MEASURE_MEMORY, run_folder, astronaut, clip, tmp_path / "out.mp4")
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    assert measured["count"] == 2400
    # One pass to find the best frame, then one for the animation.
    assert [len(resident) for resident in measured["passes"]] == [11, 24]
    for resident in measured["passes"]:
        growth = (max(resident[6:]) - resident[5]) / 2**20
        assert growth < 30, f"{growth:.1f} MB"
