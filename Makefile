# make demo    install into .venv and run the whole method on a small synthetic data set
# make test    install into .venv and run ruff, mypy and the tests (PYTEST_ARGS="-k name" to choose)
# make lint    ruff and mypy alone
# make clean   remove .venv and every cache

PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo python3)
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: demo test lint clean

demo: $(VENV)/installed
	$(BIN)/cyclic demo

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

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

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
