"""The documentation: commands parse, links, files and names exist, tables are complete."""

import ast
import configparser
import importlib
import pathlib
import re
import shlex
import tarfile
import tomllib

import drawn_heads
import pytest
from setuptools import build_meta

import fomm_tf
from fomm_tf import cli, config, errors
from fomm_tf.data.people import __main__ as people
from fomm_tf.data.puppets import __main__ as puppets

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("export/*.md")]
}
README = PAGES["README.md"]
PROGRAMS = "make|fomm|python|pytest|pip|curl|docker|kubectl|tensorboard"
# Programs of other projects: only the files that they are given are checked.
OTHERS = {"curl", "docker", "kubectl", "tensorboard"}
MODULES = {
    "fomm_tf.data.people": people._parser,
    "fomm_tf.data.puppets": puppets._parser,
}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def prose(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def commands():
    for text in PAGES.values():
        for block in blocks(text, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from (part.strip() for part in re.sub(r"(^|\s)#.*", "", line).split(" | "))
        yield from re.findall(rf"`((?:{PROGRAMS}) [^`]*)`", prose(text))


def parameters(names):
    return pytest.mark.parametrize("page", names)


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_docs_commands_exist(command):
    program, *arguments = shlex.split(command)
    if program in OTHERS:
        files = [argument for argument in arguments if re.search(r"/.*\.yaml$", argument)]
        assert all((ROOT / file).is_file() for file in files)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        check_pip(arguments)
    elif program == "pytest":
        check_pytest(arguments)
    elif program == "python":
        check_python(arguments)
    else:
        assert program == "fomm"
        check_fomm(arguments)


def check_python(arguments):
    if arguments[0] == "-m":
        if len(arguments) > 2:
            MODULES[arguments[1]]().parse_args(arguments[2:])
        else:
            assert arguments[1] in MODULES
    elif arguments == ["train.py"]:
        assert (ROOT / "train.py").is_file()
    else:
        script = ROOT / arguments[0]
        sources = script.read_text() + script.with_name("harness.py").read_text()
        assert all(f'"{argument}"' in sources for argument in arguments if argument.startswith("--"))


def check_fomm(arguments):
    """Checks a whole command line, or the name of a command alone."""
    parser = cli._parser()
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        assert arguments[0] in parser._subparsers._group_actions[0].choices, f"fomm has no command {arguments[0]}"
    else:
        options = cli.parse(arguments)
        if arguments[0] == "train" and options.config not in (None, "videos"):  # a directory of the user
            words = [options.config, *options.overrides]
            recipe = config.Config() if "=" in words[0] else config.load(config.recipes()[words.pop(0)])
            config.override(recipe, words)


def check_pytest(arguments):
    """Checks that the files exist, and that a test of theirs has the word of `-k`."""
    paths = [ROOT / argument for argument in arguments if argument.startswith("tests")]
    assert all(path.exists() for path in paths)
    if "-k" in arguments:
        word = arguments[arguments.index("-k") + 1]
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))]
        assert any(re.search(rf"def test_\w*{word}", file.read_text()) for file in files)


def check_pip(arguments):
    assert arguments[0] == "install"
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    for extras in re.findall(r"^\.\[(.*)\]$", arguments[-1]):
        assert set(extras.split(",")) <= set(parser["options.extras_require"])


def test_check_fomm_accepts_commands_and_whole_command_lines():
    for arguments in (["info"], ["demo"], ["info", "runs/x"]):
        check_fomm(arguments)


@pytest.mark.parametrize("arguments", [["infos"], ["anim"], ["infos", "runs/x"], ["info", "x", "--no-such"]])
def test_check_fomm_rejects_an_unknown_command_or_option(arguments):
    with pytest.raises((AssertionError, errors.UserError), match=r"no command|invalid choice|unrecognized"):
        check_fomm(arguments)


def anchors(text):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@parameters(PAGES)
def test_docs_links_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[page])):
        assert not link.startswith(("http:", "https:", "/")), "links are relative: they hold in every checkout"
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if page.startswith("docs/"):
            assert target.resolve().is_relative_to(ROOT / "docs"), f"{link}: not part of the site"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@parameters(PAGES)
def test_docs_name_files_that_exist(page):
    pattern = r"`((?:configs|docs|export|fomm_tf|serving|tests|\.ci)/[\w./-]*)`"
    names = [name for name in re.findall(pattern, PAGES[page]) if "NAME" not in name]
    missing = [name for name in names if not (ROOT / name).exists()]
    assert not missing


def test_docs_show_every_image():
    shown = {name for text in PAGES.values() for name in re.findall(r"!\[.+\]\(.*?([\w-]+\.\w+)\)", text)}
    assert shown == {path.name for path in (ROOT / "docs" / "images").iterdir()}


def test_docs_site_lists_every_page():
    nav = (ROOT / "mkdocs.yml").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert set(re.findall(r"^ +- (?:Home: )?([\w.-]+\.md)$", nav, re.MULTILINE)) == pages


@parameters(PAGES)
def test_docs_python_uses_names_that_exist(page):
    for block in blocks(PAGES[page], "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module({"runner": "fomm_tf.export.runner"}.get(node.module, node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fomm_tf":
                assert hasattr(fomm_tf, node.attr)


def test_readme_is_short():
    assert len(README.encode()) <= 10_240


@pytest.mark.slow
def test_readme_python_runs_as_shown(tmp_path, monkeypatch, capsys):
    """On the files of `fomm demo`, whose output `test_demo_command` compares with the README's."""
    monkeypatch.chdir(tmp_path)
    drawn_heads.write_inputs(tmp_path / "outputs" / "demo", 128, 2, "animated-1.mp4")
    (tmp_path / "outputs" / "demo" / "source.png").rename(tmp_path / "outputs" / "demo" / "source-2.png")
    (code,) = blocks(README, "python")
    exec(code, {})
    assert set(capsys.readouterr().out.splitlines()) == {re.search(r"print\(.*# (.*)", code).group(1)}


def test_capacity_page_shows_what_its_python_prints(capsys):
    page = PAGES["docs/capacity.md"]
    (code,) = blocks(page, "python")
    exec(code, {})
    assert capsys.readouterr().out in blocks(page, "text")


@pytest.mark.slow
def test_source_distribution_holds_what_the_readme_links_to(tmp_path, monkeypatch):
    """Relative links of the long description resolve in the source distribution."""
    for name in ("fomm_tf/__init__.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("docs", "mkdocs.yml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    with tarfile.open(tmp_path / build_meta.build_sdist(str(tmp_path))) as archive:
        names = {name.partition("/")[2]: name for name in archive.getnames()}
        description = archive.extractfile(names["PKG-INFO"]).read().decode()
    assert description.endswith(README)
    assert {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", README)} <= names.keys()


def test_architecture_maps_the_tree():
    (block,) = (block for block in blocks(PAGES["docs/architecture.md"], "text") if "fomm_tf/\n" in block)
    package, top = (set(re.findall(rf"^{indent}([\w.]+)/? ", block, re.MULTILINE)) for indent in ("  ", ""))
    assert package == {path.name for path in (ROOT / "fomm_tf").iterdir() if not path.name.startswith("__")}
    assert top | {"fomm_tf"} >= {path.name for path in ROOT.glob("*/") if re.match(r"\w", path.name)} - IGNORED


# Not in git.
IGNORED = {"build", "data", "dist", "models", "outputs", "runs", "fomm_tf.egg-info"}


def test_architecture_shows_the_layers_of_the_import_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert "\n".join(layers) + "\n" in blocks(PAGES["docs/architecture.md"], "text")


def test_training_page_lists_every_recipe():
    recipes = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert recipes <= set(re.findall(r"`([\w-]+)`", PAGES["docs/training.md"]))


def test_animate_page_lists_options_of_the_command():
    text = PAGES["docs/animate.md"]
    animate = cli._parser()._subparsers._group_actions[0].choices["animate"]
    known = {option for action in animate._actions for option in action.option_strings}
    table = text[text.index("| option | ") :].split("\n\n")[0]
    listed = set(re.findall(r"--[a-z][a-z-]+", table))
    assert listed and listed <= known
    assert {option for option in known if option.startswith("--")} - set(re.findall(r"--[a-z][a-z-]+", text)) <= {
        "--help",
        "--no-adapt-scale",
    }
