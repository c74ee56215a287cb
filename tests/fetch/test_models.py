"""Models by name: installed from a server on this machine, added, listed and used."""

import hashlib
import json
import os
import pty

import numpy as np
import pytest
import torch_files

import fomm_tf
from fomm_tf import checkpoint, cli, config, errors, fetch, presets, torch_import, weights
from fomm_tf.cli import options, serving
from fomm_tf.export import saved_model
from fomm_tf.fetch import catalog
from fomm_tf.training import loop


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A training checkpoint of a small model, its tree, and its run."""
    settings = config.load(config.recipes()["tiny"])
    run = checkpoint.build(settings, discriminator=True, optimizers=True)
    tree = torch_import.export_checkpoint(run)
    path = tmp_path_factory.mktemp("released") / "model.pth.tar"
    torch_files.write_legacy(path, tree, "cuda:0")
    return path, tree, run


@pytest.fixture
def converted_before(released, monkeypatch):
    """Makes conversions cheap, where they are not what is tested."""
    monkeypatch.setattr(torch_import, "import_checkpoint", lambda *arguments: released[2])
    monkeypatch.setattr(checkpoint, "pack", lambda folder, run, text: checkpoint.describe(folder, run.config, text))
    monkeypatch.setattr(checkpoint, "save", checkpoint.pack)


@pytest.fixture
def sandbox(released, server, tmp_path, monkeypatch):
    """A cache, and a table with the model `small`, whose addresses are `server`'s."""
    server.content = released[0].read_bytes()
    digest = f"sha256:{hashlib.sha256(server.content).hexdigest()}"

    def offer(*kinds, digest=digest):
        where = tuple(catalog.Address(server.url(kind), digest, len(server.content)) for kind in kinds)
        model = catalog.Model("drawn heads", "none stated", "64x64", "fast", 12, "tiny", (), where, ("http://page/",))
        monkeypatch.setattr(catalog, "table", lambda: {"small": model})
        monkeypatch.setattr(fetch, "table", catalog.table)

    offer("missing", "file")
    monkeypatch.setenv("FOMM_TF_CACHE", str(tmp_path / "cache"))
    return offer


def install(**options):
    return presets.install("small", report=lambda line: None, **options)


def failure(**options):
    with pytest.raises(errors.UserError) as caught:
        install(**options)
    folder = catalog.folder("small")
    assert {path.name for path in folder.iterdir()} <= {".lock"}
    return str(caught.value)


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_installed_model_is_used_by_its_name(sandbox, released, tmp_path, capsys):
    assert run("fetch", "model", "small") == 0
    assert "12 MB to download. License: none stated." in capsys.readouterr().out
    folder = tmp_path / "cache" / "models" / "small"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "float16", "float32", "source.json"]
    model = fomm_tf.FirstOrderMotionModel.from_preset("small")
    kernel = released[1]["generator"]["final.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.generator.final.kernel.numpy(), kernel)
    assert run("models") == 0
    assert "small  installed, " in capsys.readouterr().out
    frames = np.random.default_rng(0).random((2, 1, 64, 64, 3), np.float32)
    inputs = {"source": frames[0], "driving": frames[1]}
    half = fomm_tf.FirstOrderMotionModel.from_preset("small/float16")
    error = np.mean((model(inputs).prediction - half(inputs).prediction) ** 2)
    assert -10 * np.log10(error) >= 45


def test_install_keeps_original_and_its_origin(sandbox, converted_before, server, tmp_path):
    folder = install(keep_original=True)
    assert (folder / "model.pth.tar").read_bytes() == server.content
    source = json.loads((folder / "source.json").read_text())
    assert (source["source"], source["license"]) == (server.url("file"), "none stated")
    assert source["sha256"] in (folder / "float16" / "README.txt").read_text()


def test_install_refuses_file_that_changed(sandbox, converted_before, server):
    sandbox("file", digest=None)
    folder = install()
    count = len(server.requests)
    assert install() == folder
    assert len(server.requests) == count, "it is already installed"
    server.content += b"!"
    with pytest.raises(fetch.UnavailableError, match=r"sha256 is .*; expected"):
        install(origin=server.url("file"))
    assert (folder / "float32" / "config.yaml").is_file(), "the installed model stays"


def test_install_decides_by_structure_without_digest(sandbox, server, released, tmp_path):
    state = released[1]["generator"]
    tree = {**released[1], "generator": {**state, "final.weight": state["final.weight"][:2]}}
    torch_files.write_legacy(tmp_path / "other.pth.tar", tree)
    server.content = (tmp_path / "other.pth.tar").read_bytes()
    sandbox("quota", "file", digest=None)
    message = failure()
    assert "final.weight must be" in message
    assert message.endswith("with a browser from http://page/, then: fomm fetch model small --from FILE")


def test_install_from_file_and_mirror(sandbox, converted_before, released, server, tmp_path):
    assert install(origin=server.url("redirect")).is_dir()
    assert install(origin=str(released[0])).is_dir()
    assert released[0].exists(), "the user's file stays"
    (tmp_path / "page.pth.tar").write_text("<title>Google Drive - Quota exceeded</title>")
    sandbox("file", digest=None)
    with pytest.raises(errors.UserError, match='the web page "Google Drive - Quota exceeded", not the checkpoint'):
        install(origin=str(tmp_path / "page.pth.tar"))


def test_install_refuses_other_file(sandbox, tmp_path):
    (tmp_path / "other.pth.tar").write_bytes(b"other")
    assert "fomm models add NAME" in failure(origin=str(tmp_path / "other.pth.tar"))
    assert "does not exist" in failure(origin=str(tmp_path / "absent.pth.tar"))


def test_install_refuses_second_process(sandbox):
    with catalog.locked("small"):
        assert "another process is installing small; wait for it" in failure()


def test_commands_name_the_cure_without_terminal(sandbox, tmp_path, capsys, server):
    for command in (["--offline"], []):
        line = ["animate", "--model", "small", "--source", "a.png", "--driving", "b.mp4", "--out", tmp_path / "c.mp4"]
        assert run(*line, *command) == 2
        assert "small is not installed; download it with: fomm fetch model small" in capsys.readouterr().err
    for line in (["model", "small"], ["detectors"]):
        assert run("fetch", *line, "--offline") == 2
        output = capsys.readouterr()
        assert "cannot be downloaded: omit --offline, or unset FOMM_OFFLINE" in output.err
    assert output.out == ""
    assert not server.requests
    assert run("export", "--to", "onnx", "--model", "smal", "--out", tmp_path / "onnx") == 2
    assert "'smal' is not the name of a model; expected one of small" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["y\n", "\n"])
def test_commands_offer_download_on_terminal(sandbox, monkeypatch, answer, tmp_path, capsys):
    leader, follower = pty.openpty()
    os.write(leader, answer.encode())
    monkeypatch.setattr("sys.stdin", os.fdopen(follower))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(presets, "install", lambda name: catalog.folder(name).mkdir(parents=True))
    with pytest.raises(fetch.NotInstalledError):  # the substitute installs nothing
        options.locate_model("small")
    assert catalog.folder("small").exists() == (answer == "y\n")
    assert "License: none stated.\nDownload it now? [y/N]" in capsys.readouterr().err
    os.close(leader)


def test_models_add_names_users_model(sandbox, converted_before, released, capsys, tmp_path):
    assert run("models", "add", "mine", released[0], "--config", "tiny") == 0
    assert fetch.locate("mine") == tmp_path / "cache" / "models" / "mine" / "float32"
    for name, words in (("mine", "already a model"), ("small", "already a model"), ("a/b", "must consist of")):
        assert run("models", "add", name, released[0]) == 2
        assert words in capsys.readouterr().err
    assert run("models") == 0
    assert "your own" in capsys.readouterr().out


def test_table_of_released_models_is_complete():
    for name, model in fetch.table().items():
        assert model.speed in ("fast", "medium", "slow")
        assert model.license
        if name in fetch.bundled():
            continue
        settings = config.override(config.load(config.recipes()[model.recipe]), model.overrides)
        height, width = settings.model.frame_size
        assert model.frames == f"{width}x{height}"
        for address in model.addresses:
            assert address.url.startswith("https://")
            assert address.digest is None or address.digest.split(":")[0] in ("sha256", "md5")


def test_load_skips_discriminator_and_optimizers(released, tmp_path):
    weights.save(tmp_path / "zip.pth.tar", released[1])
    for path in (released[0], tmp_path / "zip.pth.tar"):
        tree = weights.load(path, networks_only=True)
        assert set(tree) == {"generator", "kp_detector", "epoch"}
        for name, value in tree["generator"].items():
            np.testing.assert_array_equal(value, released[1]["generator"][name])


def test_train_starts_from_model_by_name(monkeypatch):
    chosen = []
    monkeypatch.setattr(loop, "run", lambda *arguments, **options: chosen.append(options["init_from"]))
    assert run("train", "tiny", "--init-from", "puppets-128") == 0
    assert run("train", "tiny", "train.init_from=puppets-128") == 0
    assert chosen == [fetch.bundled()["puppets-128"]] * 2
    assert run("train", "tiny", "train.init_from=absent") == 2


def test_serve_exports_model_by_name_once(sandbox, monkeypatch, tmp_path):
    written = []

    def write(folder, output, precision, check):
        written.append(folder)
        output.mkdir(parents=True)

    monkeypatch.setattr(saved_model, "write", write)
    first, second = (serving._find_directory("puppets-128") for _ in range(2))
    assert first == second
    assert first.parent == tmp_path / "cache" / "models" / "puppets-128"
    assert written == [fetch.bundled()["puppets-128"]]
    with pytest.raises(fetch.NotInstalledError):
        serving._find_directory("small")


def test_locate_finds_each_form_that_is_installed(sandbox):
    folder = catalog.folder("small")
    (folder / "float16").mkdir(parents=True)
    (folder / "float16" / "config.yaml").touch()
    assert fetch.locate("small") == fetch.locate("small/float16") == folder / "float16"
    for name in ("small/float32", "small/int8"):
        with pytest.raises(fetch.NotInstalledError):
            fetch.locate(name)


def test_install_deletes_exports_of_what_it_replaces(sandbox, converted_before, released):
    folder = catalog.folder("small")
    (folder / "float32" / "saved_model-0.0.9" / "1").mkdir(parents=True)
    install(origin=str(released[0]))
    assert not list(folder.rglob("saved_model-*"))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "float16", "float32", "source.json"]


def test_add_reports_a_checkpoint_that_does_not_exist(sandbox, tmp_path):
    with pytest.raises(errors.UserError, match=r"missing\.pth\.tar.* (does not exist|cannot be read)"):
        presets.add("mine", str(tmp_path / "missing.pth.tar"))
    assert "mine" not in fetch.installed()
