"""How commands end, and how errors of libraries name the options of the command line."""

import contextlib
import errno
import io
import os

import pytest

from fomm_tf import console, errors


@pytest.fixture
def parser():
    parser = console.Parser(prog="make-clips")
    parser.add_argument("videos", metavar="VIDEO", nargs="*")
    parser.add_argument("--jobs", dest="workers", type=int)
    parser.add_argument("-b", "--batch-size", type=int)
    return parser


def test_name_options_replaces_parameters(parser):
    message = "`workers` must be at least 1; got 0; see `videos`, `frames` and batch_size"
    assert parser.name_options(message) == "--jobs must be at least 1; got 0; see VIDEO, `frames` and batch_size"


def test_name_options_prefers_the_long_option(parser):
    assert parser.name_options("`batch_size` is 0") == "--batch-size is 0"


def test_options_in_errors_keeps_the_type(parser):
    with pytest.raises(errors.UnreadableError, match=r"^--jobs is 0$"), parser.options_in_errors():
        raise errors.UnreadableError("`workers` is 0")


def test_options_in_errors_leaves_bugs_alone(parser):
    with pytest.raises(ZeroDivisionError, match=r"^`workers`$"), parser.options_in_errors():
        raise ZeroDivisionError("`workers`")


def test_run_reports_a_user_error_in_one_line(parser, capsys):
    def command():
        with parser.options_in_errors():
            raise errors.UserError("`workers` must be at least 1; got 0.")

    assert console.run("clips", command) == 2
    assert capsys.readouterr().err == "clips: --jobs must be at least 1; got 0.\n"


def test_run_reports_a_parser_error_in_one_line(parser, capsys):
    assert console.run("clips", lambda: parser.parse_args(["--jobs", "many"])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("clips: ") and line.endswith("see make-clips --help.")


def test_run_keeps_the_traceback_of_a_bug():
    with pytest.raises(ZeroDivisionError):
        console.run("clips", lambda: 1 / 0)


@pytest.mark.parametrize("message", ["", "stopped and saved at step 3."])
def test_run_reports_an_interruption(message, capsys):
    def command():
        raise KeyboardInterrupt(*[message] * bool(message))

    assert console.run("clips", command) == 130
    expected = message or "interrupted; nothing is left half-written."
    assert capsys.readouterr().err == f"clips: {expected}\n"


def test_requires_extra_names_the_missing_package():
    expected = r'^onnx is not installed; install it with: pip install "fomm-tf\[export\]"$'
    with pytest.raises(errors.UserError, match=expected), console.requires_extra("export"):
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")


def test_requires_extra_leaves_missing_modules_of_the_package_alone():
    with pytest.raises(ModuleNotFoundError), console.requires_extra("export"):
        raise ModuleNotFoundError("No module named 'fomm_tf.absent'", name="fomm_tf.absent")


def test_parser_takes_options_between_positional_arguments():
    parser = console.Parser(prog="fomm")
    clips = parser.add_subparsers().add_parser("clips")
    clips.add_argument("first")
    clips.add_argument("others", nargs="*")
    clips.add_argument("--jobs", type=int, required=True)
    for line in ("clips a b c --jobs 2", "clips a --jobs 2 b c", "clips --jobs 2 a b c", "clips a b --jobs 2 c"):
        arguments = parser.parse_args(line.split())
        assert (arguments.first, arguments.others, arguments.jobs) == ("a", ["b", "c"], 2)
    for line in ("clips --jobs 2", "clips a", "clips a --jobs 2 --depth 3"):
        with pytest.raises(errors.UserError):
            parser.parse_args(line.split())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out.mp4"),
            "out.mp4 cannot be written: No space left on device",
        ),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300),
            f"the name {'a' * 80}... is too long; shorten it.",
        ),
    ],
)
def test_run_reports_errors_of_the_system_that_users_can_cure(error, message, capsys):
    def command():
        raise error

    assert console.run("clips", command) == 2
    assert capsys.readouterr().err.startswith(f"clips: {message}")


def test_run_keeps_the_traceback_of_other_errors_of_the_system():
    def command():
        raise PermissionError(errno.EACCES, "Permission denied", "a.py")

    with pytest.raises(PermissionError):
        console.run("clips", command)


def test_run_prints_to_a_stream_that_takes_any_text():
    """As in a notebook, whose stdout has no encoding."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert console.run("clips", lambda: print("\udcff")) == 0
    assert printed.getvalue() == "\udcff\n"


@pytest.mark.parametrize(("verbose", "level"), [(False, "3"), (True, None)])
def test_prepare_tensorflow_hides_its_messages(verbose, level, monkeypatch):
    for name in ("TF_FORCE_GPU_ALLOW_GROWTH", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # for the end of the test
        monkeypatch.delenv(name)
    console.prepare_tensorflow(verbose)
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true" and os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level


def test_prepare_tensorflow_keeps_what_the_user_has_set(monkeypatch):
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    console.prepare_tensorflow(False)
    assert (os.environ["TF_FORCE_GPU_ALLOW_GROWTH"], os.environ["TF_CPP_MIN_LOG_LEVEL"]) == ("false", "0")
