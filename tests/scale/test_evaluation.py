"""`fomm evaluate --runner`: the same bytes as on this machine, resuming, dead letters."""

import pytest
from square_videos import read_contents, write_noise

from fomm_tf import cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of noise, one of a single frame, and a damaged file."""
    folder = write_noise(tmp_path_factory.mktemp("clips"), {"a": 9, "b": 5, "single": 1})
    (folder / "bad.mp4").write_bytes((folder / "a.mp4").read_bytes()[:700])
    return folder


def test_evaluate_with_two_workers_equals_the_local_run(
    clips, small_files, tmp_path, two_workers, direct, dead_letters, capsys
):
    def evaluate(name, *arguments):
        line = ["evaluate", "--run", small_files("run"), "--data", clips, "--out", tmp_path / name]
        assert cli.main([*map(str, line), "--metrics", "l1,psnr,ssim", *arguments]) == 0
        return read_contents(tmp_path / name), capsys.readouterr()

    expected, _ = evaluate("local")
    contents, printed = evaluate("beam", *two_workers)
    letters = contents.pop("dead-letters.csv")
    assert contents == expected
    assert set(dead_letters(tmp_path / "beam")) == {"bad", "single"}
    for count in ("read 4", "videos kept 2", "frames kept 14", "videos dropped 2"):
        assert count in printed.out
    # Only what could not be evaluated is tried again.
    contents, printed = evaluate("beam", *direct)
    assert "read 2" in printed.out
    assert contents == expected | {"dead-letters.csv": letters}
