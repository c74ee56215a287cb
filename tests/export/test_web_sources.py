"""The sources of the site that `fomm export --to web` writes, without a browser."""

import gzip
import json
import pathlib
import re

import pytest

import fomm_tf
from fomm_tf import fetch
from fomm_tf.export import web

FOLDER = pathlib.Path(web.__file__).parent
SOURCES = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".html", ".css", ".js", ".ts"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_refer_to_no_other_host(path):
    assert re.findall(r"\b(?:https?:)?//[\w.-]+\.\w+", path.read_text(encoding="utf-8")) == []


def test_page_and_headers_have_the_same_policy():
    (header,) = re.findall(r"Content-Security-Policy: (.*)", (FOLDER / "page" / "_headers").read_text())
    (meta,) = re.findall(r'content="(default-src[^"]*)"', (FOLDER / "page" / "index.html").read_text())
    # Browsers ignore frame-ancestors in a meta element.
    assert header == f"{meta}; frame-ancestors 'none'"
    assert "unsafe-inline" not in header and "'unsafe-eval'" not in header and "default-src 'none'" in header


def test_page_has_neither_inline_scripts_nor_styles():
    text = (FOLDER / "page" / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def test_manifest_has_the_version_and_names_existing_files(tmp_path):
    path = tmp_path / "package.json"
    path.write_text((FOLDER / "package" / "package.json").read_text())
    web._write_manifest(path)
    manifest = json.loads(path.read_text())
    assert manifest["version"] == fomm_tf.__version__
    for name in manifest["exports"]["."].values():
        assert (FOLDER / "package" / name).is_file()


def test_runtime_is_compressed_and_its_modules_find_each_other(tmp_path):
    files = {name: tmp_path / name for name in ("index.js", "bundle.js", "a.wasm")}
    files["index.js"].write_text('import { x } from "@litertjs/wasm-utils";\nx();\n//# sourceMappingURL=index.js.map')
    files["bundle.js"].write_text("export const x = 1;\n")
    files["a.wasm"].write_bytes(b"\0asm")
    web._write_runtime(tmp_path / "runtime", files)
    assert sorted(path.name for path in (tmp_path / "runtime").iterdir()) == ["a.wasm.gz", "litert.js", "wasm_utils.js"]
    assert (tmp_path / "runtime" / "litert.js").read_text() == 'import { x } from "./wasm_utils.js";\nx();\n'
    assert gzip.decompress((tmp_path / "runtime" / "a.wasm.gz").read_bytes()) == b"\0asm"


def test_engine_names_files_of_the_runtime():
    members = [member for package in fetch.SETS[web.RUNTIME].packages for member in package.members]
    for name in re.findall(r"litert_wasm\w*", (FOLDER / "package" / "engine.js").read_text()):
        assert {f"package/wasm/{name}.js", f"package/wasm/{name}.wasm"} <= set(members)
