# make demo        the environment, then the whole road on real English text: render, train, validate, look
# make test        the environment, then the tests, a process a core (one part: make test ARGS=tests/data)
# make lint        ruff: rules and format
# make bench       every benchmark in scripts/ (fine-tuning with GLUE's files: make bench GLUE_DIR=folder)
# make clean       removes .venv, caches and the demo's output
#
# PYTHON=python3.12 makes the environment with another Python (3.11 or 3.12); VENV=folder puts it elsewhere.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

INSTALLED := $(VENV)/.installed
RUN := $(VENV)/bin/python

.PHONY: help demo test lint bench clean same-python
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(INSTALLED)
	@$(RUN) examples/quickstart/run.py $(ARGS)

test: $(INSTALLED)
	@$(RUN) -m pytest -n auto --dist loadfile $(ARGS)

lint: $(INSTALLED)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

bench: $(INSTALLED)
	@for script in scripts/bench_*.py; do \
	    if [ -e "$$script" ]; then echo "== $$script"; $(RUN) "$$script" || exit 1; fi; \
	done

clean:
	rm -rf .venv demo build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find pixelgpt_fairseq scripts examples tests -name __pycache__ -prune -exec rm -rf {} +

# A Python asked for by name must be the one in the environment; one not asked for may be anything once that is made.
same-python:
ifneq ($(origin PYTHON),file)
	@if [ -e $(INSTALLED) ] && [ "$$("$(PYTHON)" -V 2>&1)" != "$$($(RUN) -V)" ]; then \
	    echo "error: $(VENV) has $$($(RUN) -V), which is not what $(PYTHON) is: 'make clean' first, or name another VENV" >&2; exit 1; \
	fi
endif

# The stamp is the last thing written, so that an interrupted installation is taken up again the next time. Of what
# pip says, the large downloads and the slow steps are shown; what goes wrong comes through standard error, whole.
$(INSTALLED): setup.py constraints.txt | same-python
	@rm -f $@
	@if ! $(RUN) -m pip --version >/dev/null 2>&1; then \
	    "$(PYTHON)" -V >/dev/null 2>&1 || { echo "error: there is no $(PYTHON) here: name a Python 3.11 or 3.12, for example 'make demo PYTHON=python3.12'" >&2; exit 1; }; \
	    "$(PYTHON)" pixelgpt_fairseq/_requirements.py && "$(PYTHON)" -m venv $(VENV); \
	fi
	@echo "Installing into $(VENV) the versions in constraints.txt: a minute or two on a fast network"
	@{ $(RUN) -m pip install --disable-pip-version-check -e '.[test,lint,tensorboard]' -c constraints.txt && touch $@; } | \
	    { grep --line-buffered -oE '(Downloading|Using cached|Processing) .* MB\)|Building wheels for .*|Installing collected packages' || true; }
	@test -e $@
	@echo "Installed: $$($(RUN) -V) in $(VENV)"
