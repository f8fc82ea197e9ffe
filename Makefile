# What one can do here; `make` alone lists it. Everything runs in $(VENV), which is made on first use.
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
DEMO_DATA ?= data/demo
DEMO_RUN ?= runs/demo
WORKERS ?= 2
# Those of what Triton's interpreter can run in PyTorch's place.
KERNEL_TESTS := tests/kernels/test_ops.py tests/kernels/test_expert_pool.py tests/kernels/test_gaussian_weights.py \
	$(wildcard tests/kernels/test_*_kernel*.py)
# Those that name the mark: to import the others takes as long as many of their tests.
SLOW_TESTS = $(shell grep -rl slow tests --include='test_*.py')
TORCH ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo table dropins measure readme docs docs-serve dist audit stress test test-all test-browser test-dist test-wheel check format \
	bench gpu clean

help: ## list what one can do
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed ## make the environment in .venv

$(VENV)/.installed: pyproject.toml constraints.txt requirements-nodeps.txt
	@echo "Setting up $(VENV): 3 minutes or more, about 3 GB, most of it PyTorch; silent until it is done."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e ".[avqa,dev,docs,hub,onnx,serve]"
	$(PIP) -c constraints.txt --no-deps -r requirements-nodeps.txt
	@touch $@

# test_00007 is the example of docs/idea.md, whose rule for choosing it looks at questions alone; docs/answer.png is its picture.
demo: setup ## concerts -> features -> training -> test -> an answer with its picture (15 to 30 minutes on 2 free cores)
	$(PY) -m examples.avqa concert --config examples/avqa/configs/demo_concerts.yaml --out $(DEMO_DATA)
	$(PY) -m examples.avqa extract --videos $(DEMO_DATA)/videos --out $(DEMO_DATA)/features
	$(PY) -m examples.avqa fit --config examples/avqa/configs/demo.yaml --out $(DEMO_RUN) --if_finished skip
	$(PY) -m examples.avqa test --run $(DEMO_RUN)
	$(PY) -m examples.avqa answer $(DEMO_DATA)/videos/test_00007.mp4 "Which instrument is the first to come in?" --run $(DEMO_RUN)
	@echo "A model this small is often wrong: $(DEMO_RUN)/test/table.md says how often, by type of question."
	@echo "Ask it yourself, in a browser: $(PY) -m examples.avqa serve"

table: setup ## docs/concerts.md, the accuracy table: three seeds of six systems (hours; resumes)
	$(PY) -m examples.avqa concert --out data/concerts
	$(PY) -m examples.avqa extract --videos data/concerts/videos --out data/concerts/features
	$(PY) -m examples.avqa compare --config examples/avqa/configs/concerts.yaml --out runs/concerts \
		--jobs $(WORKERS) --record examples/avqa/recorded/concerts.json
	$(PY) -m examples.avqa.readme

dropins: setup ## docs/dropins.md: the layers in place of parts of other models, measured (7 minutes on 2 cores)
	for name in top_frames video_backbone grounding; do \
		$(PY) -m examples.dropins.$$name --out examples/dropins/recorded/$$name.json || exit; done
	$(PY) -m examples.avqa.readme

measure: setup ## docs/reproduce.md: the training step and the loaders, on a machine with nothing else to do (10 minutes)
	$(PY) -m examples.avqa.measure.costs --out examples/avqa/recorded/costs.json
	$(PY) -m examples.avqa.measure.loader --out examples/avqa/recorded/loader.json
	$(PY) -m examples.avqa.measure.training_step --profile --out examples/avqa/recorded/training_step.json
	$(PY) -m examples.avqa.readme

readme: setup ## write the recorded figures and features into the pages and draw the charts again
	$(PY) -m examples.avqa.readme
	$(PY) -m docs.features
	$(PY) -m docs.figures
	$(PY) -m docs.badges
	$(PY) -m docs.compatibility
	$(PY) -m benchmarks table --readme
	$(PY) -m benchmarks plot

# The theme's note on MkDocs 2, which this project does not use (docs/decisions.md), is no warning of the build.
docs: setup ## build the site into build/site, every warning an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "The site: build/site/index.html"

docs-serve: setup ## the site on this machine while one writes
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve --dev-addr 127.0.0.1:8000

# The second run takes the Triton kernels themselves through the interpreter.
test: setup ## the tests one runs before each commit (meant to stay under 3 minutes on 2 free cores)
	$(PY) -m pytest -n $(WORKERS) -m "not slow and not gpu and not browser"
	TRITON_INTERPRET=1 $(PY) -m pytest -n $(WORKERS) -m "not slow and not gpu and not browser" $(KERNEL_TESTS)

test-all: test ## those and the slow ones: what CI runs
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup -m "slow and not gpu and not browser" $(SLOW_TESTS)
	TRITON_INTERPRET=1 $(PY) -m pytest -n $(WORKERS) -m "slow and not gpu and not browser" $(KERNEL_TESTS)

test-browser: setup ## the page to ask on and the site, clicked through in Chromium (apt-get install chromium)
	$(PY) -m pytest -m browser tests

dist: setup ## sdist and wheel into dist/, checked
	$(PY) -m tests.distribution --only checks --out dist

test-dist: setup ## the same, and each in a new environment with the library's tests (minutes)
	$(PY) -m tests.distribution --out dist

test-wheel: ## the wheel of dist/ on another Python and PyTorch: PYTHON=python3.13 TORCH=2.7.0
	$(PYTHON) -m tests.distribution --only wheel --dist dist $(if $(TORCH),--torch $(TORCH))

audit: setup ## known faults, licences, constraints and bounds of what is installed; fails where nothing could be looked up
	$(PY) -m tests.audit

stress: setup ## attack everything at full length and record what broke: docs/reliability.md (hours; resumes)
	$(PY) -m tests.stress run
	$(PY) -m tests.stress page

check: setup ## lint, format, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup ## put the files into the house format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: setup ## verify and time the layers against their baselines on this machine (an hour on 2 cores; resumes)
	$(PY) -m benchmarks run

# Installs nothing and uses whichever python3 is there, as GPU machines come with their own PyTorch.
gpu: ## tests and benchmarks on a GPU, with the python3 at hand; results also in $$OUT if it is set
	@python3 -c "import torch, einops, numpy, pytest, hypothesis, tqdm" || { echo "make gpu: python3 lacks a package"; exit 2; }
	@python3 -c "import sys, torch; sys.exit(not torch.cuda.is_available())" || { echo "make gpu: no CUDA device"; exit 2; }
	python3 -m pytest -p no:cacheprovider tests/gaussian_moe/test_gpu.py tests/kernels/test_*_kernel*.py \
		tests/benchmarks/test_benchmarks_gpu.py \
		$(if $(OUT),--junitxml=$(OUT)/tests.xml)
	python3 -m benchmarks run $(if $(OUT),--out $(OUT)/bench.json)
	python3 -m examples.avqa.measure.training_step --compiled --profile $(if $(OUT),--out $(OUT)/training_step.json)

clean: ## remove the environment and all caches; data/ and runs/ stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
