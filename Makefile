PYTHON ?= python3.11
BIN := .venv/bin
# opencv-python needs the system's libGL and glib, which slim images lack; the headless build does not.
OPENCV = $(BIN)/python -c "import cv2" 2>/dev/null || \
	$(BIN)/pip install -q --force-reinstall --no-deps "opencv-python-headless<4.12"

PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal
NUMERICS := tests/ops tests/models tests/losses tests/conformance tests/parity tests/training

.PHONY: demo serve test quick conformance lint docs bench gpu compat clean

demo: .venv/core
	rm -rf outputs/demo
	$(BIN)/fomm demo --out outputs/demo

serve: .venv/all
	test -d models/fomm || $(BIN)/fomm export --to saved_model --out models/fomm
	$(BIN)/fomm serve --model models/fomm

test: .venv/all
	$(PYTEST)

quick: .venv/all
	$(PYTEST) -m "not slow and not conformance"

# The tests that `make test` excludes, and the numerics with kernels for other CPUs: oneDNN for AVX2, and Eigen only.
conformance: .venv/all
	$(PYTEST) -m conformance
	ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) $(NUMERICS)
	TF_ENABLE_ONEDNN_OPTS=0 $(PYTEST) $(NUMERICS)

lint: .venv/all
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

# The site, into outputs/site.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/all
	$(BIN)/python tests/bench/animator.py
	$(BIN)/python tests/bench/animator.py --precision bfloat16
	$(BIN)/python tests/bench/animator.py --config tiny
	$(BIN)/python tests/bench/pairs.py
	$(BIN)/python tests/bench/shards.py
	$(BIN)/python tests/bench/exports.py --kinds tflite-float32 tflite-dynamic onnx-float32
	$(BIN)/python tests/bench/exports.py --config mobile-256
	$(BIN)/python tests/bench/load.py
	$(BIN)/python tests/bench/step.py
	$(BIN)/python tests/bench/step.py train.recompute=true
	$(BIN)/python tests/bench/step.py --config vox-adv-256

# Without a GPU it says why, and succeeds.
gpu: .venv/all
	! command -v nvidia-smi >/dev/null || $(BIN)/pip install -q "tensorflow[and-cuda]==2.15.1"
	$(BIN)/fomm bench --device gpu

compat: .venv/all
	$(BIN)/python -m pytest -rP -m conformance tests/compat

clean:
	rm -rf .venv .venv-*/ outputs

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip

.venv/core: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install -q --no-compile -e .
	$(OPENCV)
	touch $@

.venv/all: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install -q --no-compile -e ".[all]"
	$(OPENCV)
	$(BIN)/pip check
	touch $@ .venv/core

.venv/docs: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install -q --no-compile -e ".[docs]"
	touch $@

# One extra alone, as a user would install it.
.venv-extra-%/done: BIN = .venv-extra-$*/bin
.venv-extra-%/done: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-extra-$*
	$(BIN)/pip install -q --no-compile -e ".[$*]"
	$(OPENCV)
	$(BIN)/pip check
	touch $@

.venv-torch/done: Makefile
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/pip install -q torch==2.13.0 "numpy<2"
	touch $@

# tensorflow-addons cannot be imported there; tf-keras is Keras 2.
.venv-tensorflow/done: Makefile
	$(PYTHON) -m venv .venv-tensorflow
	.venv-tensorflow/bin/pip install -q tensorflow==2.21.0 tf-keras==2.21.0 tensorboard scipy "opencv-python-headless<4.12" \
		"av<19" Pillow PyYAML tqdm hypothesis pytest pytest-timeout scikit-image
	touch $@

# The latest release, to detect one that cannot read the files.
.venv-litert/done: Makefile
	$(PYTHON) -m venv .venv-litert
	.venv-litert/bin/pip install -q ai-edge-litert numpy
	touch $@

.venv-onnxruntime/done: Makefile
	$(PYTHON) -m venv .venv-onnxruntime
	.venv-onnxruntime/bin/pip install -q onnxruntime numpy
	touch $@
