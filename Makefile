# make demo           install into .venv and run the whole method on a small synthetic data set
# make test           install into .venv and run ruff, mypy and the tests (PYTEST_ARGS="-k name" to choose)
# make test-backends  install JAX and PyTorch beside .venv and run what has to pass on each of them
# make lint           ruff and mypy alone
# make clean          remove what was installed and every cache

PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo python3)
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Has JAX and PyTorch, and sees what .venv holds: the tests of .venv show that neither is needed.
BACKENDS := .venv-backends
SITE := -c "import sysconfig; print(sysconfig.get_path('purelib'))"

export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: demo test test-backends lint clean

demo: $(VENV)/installed
	$(BIN)/cyclic demo

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# One thread for PyTorch: those of two workers would wait for each other.
test-backends: $(BACKENDS)/installed
	KERAS_BACKEND=jax $(BACKENDS)/bin/python -m pytest -m backends $(PYTEST_ARGS)
	OMP_NUM_THREADS=1 KERAS_BACKEND=torch $(BACKENDS)/bin/python -m pytest -m backends $(PYTEST_ARGS)
	$(BACKENDS)/bin/python -m pytest $(PYTEST_ARGS) tests/test_backends.py tests/mrcnn/train/test_two_devices.py

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# imgaug comes without its dependencies: requirements.txt says why.
$(VENV)/installed: requirements.txt pyproject.toml setup.py
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e .
	$(BIN)/python -m pip install --quiet --no-deps imgaug==0.4.0
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

$(BACKENDS)/installed: $(VENV)/installed-dev requirements-backends.txt
	$(BIN)/python -m venv $(BACKENDS)
	echo "import site; site.addsitedir('$$($(BIN)/python $(SITE))')" > $$($(BACKENDS)/bin/python $(SITE))/venv.pth
	$(BACKENDS)/bin/python -m pip install --quiet --retries 1 -r requirements-backends.txt
	touch $@

clean:
	rm -rf $(VENV) $(BACKENDS) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
