"""How commands end, and how errors of libraries name the options of the command line."""

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


def test_run_reports_an_interruption(capsys):
    def command():
        raise KeyboardInterrupt

    assert console.run("clips", command) == 130
    assert capsys.readouterr().err == "clips: interrupted; nothing is left half-written.\n"
