"""The README says what is so: its commands parse, its map and its links exist."""

import pathlib
import re
import shlex

import pytest

from export import __main__ as export
from fomm_tf import cli, config, errors
from fomm_tf.data.puppets import command as puppets
from serving import __main__ as serving

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S):
        for line in block.splitlines():
            yield line.split("#")[0].strip()
    yield from re.findall(r"`((?:make|fomm) [^`]*)`", TEXT)


# Of other projects.
OTHERS = {"curl", "docker", "kubectl"}


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_of_the_readme_exists(command):
    program, *arguments = shlex.split(command)
    if program in OTHERS:
        files = [argument for argument in arguments if argument.endswith(".yaml")]
        assert all((ROOT / file).is_file() for file in files)
    elif program == "python" and arguments[:2] == ["-m", "export"]:
        export._parser().parse_args(arguments[2:])
    elif program == "python" and arguments[:2] == ["-m", "serving"]:
        serving._parser().parse_args(arguments[2:])
    elif program == "python" and arguments[:2] == ["-m", "fomm_tf.ablation"]:
        check_fomm(["ablation", *arguments[2:]])
    elif program == "python" and arguments[0] == "-m":
        puppets._parser().parse_args(arguments[1 + arguments.index("fomm_tf.data.puppets") :])
    elif program == "python":
        assert arguments[0] == "train.py" and (ROOT / "train.py").is_file()
        files = [pathlib.Path(argument) for argument in arguments if argument.endswith(".yaml")]
        assert all(config.load(ROOT / file) for file in files)
        config.override(config.Config(), [argument for argument in arguments if "=" in argument])
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.M), command
    else:
        assert program == "fomm", command
        check_fomm(arguments)


def check_fomm(arguments):
    """Refuses what is not a command of `fomm`, and arguments that it does not take; a name alone stands for any."""
    parser = cli._parser()
    if arguments == ["..."]:
        return
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        assert arguments[0] in parser._subparsers._group_actions[0].choices, f"fomm has no command {arguments[0]}"
    else:
        parser.parse_args(arguments)


def test_check_fomm_accepts_commands_and_whole_command_lines():
    for arguments in (["..."], ["info"], ["demo"], ["info", "runs/x"]):
        check_fomm(arguments)


@pytest.mark.parametrize("arguments", [["infos"], ["anim"], ["train"], ["infos", "runs/x"], ["info", "x", "--no-such"]])
def test_check_fomm_refuses_an_unknown_command_or_option(arguments):
    with pytest.raises((AssertionError, errors.UserError), match=r"no command|invalid choice|unrecognized"):
        check_fomm(arguments)


def test_the_map_of_the_readme_is_the_tree():
    fenced = re.split(r"^```.*$", TEXT, flags=re.M)[1::2]
    block = next(block for block in fenced if "fomm_tf/\n" in block)
    listed = {name.rstrip("/") for name in re.findall(r"^  ([\w.]+/?)[ ,]", block, re.M)} | {"opencv.py", "files.py"}
    found = {path.name for path in (ROOT / "fomm_tf").iterdir() if not path.name.startswith("__")}
    assert listed == found


def test_options_of_the_table_are_options_of_the_command():
    parser = cli._parser()
    animate = parser._subparsers._group_actions[0].choices["animate"]
    known = {option for action in animate._actions for option in action.option_strings}
    table = TEXT[TEXT.index("| option | |") : TEXT.index("`fomm animate-set` does")]
    named = set(re.findall(r"--[a-z][a-z-]+", table))
    assert named and named <= known
