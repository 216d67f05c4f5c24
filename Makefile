# make demo        the environment, then the whole road on real English text: render, train, validate, look
# make test        the environment, then the tests, a process a core (one part: make test ARGS=tests/data)
# make lint        ruff: rules and format
# make bench       every benchmark in scripts/ (fine-tuning with GLUE's files: make bench GLUE_DIR=folder)
# make clean       removes .venv, caches and the demo's output
#
# PYTHON=python3.12 makes the environment with a Python of your choice (3.11 to 3.13; default: the newest of those that
# is found and has what the installation needs); VENV=folder puts it elsewhere.

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
	@$(RUN) -m pytest -n auto --dist worksteal $(ARGS)

lint: $(INSTALLED)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

bench: $(INSTALLED)
	@for script in scripts/bench_*.py; do \
	    if [ -e "$$script" ]; then echo "== $$script"; $(RUN) "$$script" || exit 1; fi; \
	done

clean:
	rm -rf .venv demo build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find pixelgpt_fairseq hydra_plugins scripts examples tests -name __pycache__ -prune -exec rm -rf {} +

# A Python asked for by name must be the one in the environment; one not asked for may be anything once that is made.
same-python:
ifdef PYTHON
	@if [ -e $(INSTALLED) ] && [ "$$("$(PYTHON)" -V 2>&1)" != "$$($(RUN) -V)" ]; then \
	    echo "error: $(VENV) has $$($(RUN) -V), which is not what $(PYTHON) is: 'make clean' first, or name another VENV" >&2; exit 1; \
	fi
endif

# The virtual environment itself. A Python is taken if the check has no complaint; if none is, the complaint about
# the one asked for, or about python3, is printed.
CHECK := pixelgpt_fairseq/_requirements.py
define make_environment
	python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	    for version in 3.13 3.12 3.11; do for candidate in python3 python$$version; do \
	        case "$$("$$candidate" -V 2>&1)" in "Python $$version."*) ;; *) continue ;; esac; \
	        if [ -z "$$python" ] && "$$candidate" $(CHECK) >/dev/null 2>&1; then python=$$candidate; fi; \
	    done; done; \
	    python="$${python:-python3}"; \
	fi; \
	"$$python" -V >/dev/null 2>&1 || { echo "error: there is no $$python here: install Python 3.11, 3.12 or 3.13 (Debian, Ubuntu: apt install python3 python3-venv), or name one: 'make demo PYTHON=python3.12'" >&2; exit 1; }; \
	"$$python" $(CHECK) >/dev/null && "$$python" -m venv $(VENV)
endef

# Of what pip says, the large downloads and the slow steps are shown; what goes wrong comes through standard error, whole.
PIP := $(RUN) -m pip install --disable-pip-version-check
SHOWN := { grep --line-buffered -oE '(Downloading|Using cached|Processing) .* MB\)|Building wheels for .*|Installing collected packages' || true; }

# fairseq comes first, checked by hash. Where it is compiled, what its build needs comes before it, in the versions that
# are used later, and a line every half minute says that it goes on.
define install_fairseq
	fairseq="$$($(RUN) $(CHECK))"; \
	if [ "$$fairseq" = compiled ]; then \
	    echo "fairseq has no ready-made build for $$($(RUN) -V) on this platform: it is compiled, which takes about four minutes"; \
	    { $(PIP) -c constraints.txt torch numpy cython setuptools || exit 1; } | $(SHOWN); \
	    ( seconds=0; while sleep 30 >/dev/null 2>&1; do seconds=$$((seconds + 30)); echo "  compiling fairseq: $$seconds s"; done ) & ticking=$$!; \
	    $(PIP) --no-deps --require-hashes --no-build-isolation -r fairseq.txt >/dev/null; status=$$?; \
	    kill $$ticking; exit $$status; \
	elif [ "$$fairseq" != installed ]; then \
	    $(PIP) --no-deps --require-hashes -r fairseq.txt >/dev/null; \
	fi
endef

# The stamp is the last thing written, so an installation that was interrupted is resumed the next time.
$(INSTALLED): setup.py constraints.txt fairseq.txt | same-python
	@rm -f $@
	@if ! $(RUN) -m pip --version >/dev/null 2>&1; then $(make_environment); fi
	@echo "Installing into $(VENV) the versions in constraints.txt: a minute or two on a fast network"
	@$(install_fairseq)
	@{ $(PIP) -e '.[test,lint,tensorboard]' -c constraints.txt && touch $@; } | $(SHOWN)
	@test -e $@
	@echo "Installed: $$($(RUN) -V) in $(VENV)"
