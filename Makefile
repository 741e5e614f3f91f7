# make demo      compare ways to teach a child, on this machine's CPU
# make demo-seg  the same for segmentation, of the MNI152 brain template
# make test      run the tests, in two processes of one thread each (JOBS=2)
# make test-gpu  run the tests that need a GPU
# make fuzz      try a thousand times as many inputs as the tests do
# make faults    kill trainings, comparisons, exports and conversions, 300 times
# make fresh     install from the registry anew, and type what README and docs say
# make coverage  try every family of the zoos; writes docs/coverage.md (an hour)
# make env       only create the virtual environment that all use
# make lint      check style and types
# make docs      build the site, in docs/_build/html
# make clean     remove the environment and what builds and tests left
#
#   make test PYTHON=python3.12 ARGS="-m 'not slow'"

PYTHON ?= python3
VENV ?= .venv
# The two are one choice: a torchvision built for another torch does not import.
TORCH ?= torch==2.11.0 torchvision==0.26.0
ARGS ?=
JOBS ?= 2
DEMO := configs/compare/inheritance_resnet20_resnet8_few_digits.py
DEMO_SEG := configs/compare/segmentation_unet-s4-w16_unet-s3-w4_mni152.py

PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check
STAMP := $(VENV)/.mmhkt-installed
SOURCES := mmhkt tools tests configs setup.py

.PHONY: demo demo-seg test test-gpu fuzz faults coverage fresh env lint docs clean

demo: env
	$(PY) tools/compare.py $(DEMO) --methods alone kd dkd hkt \
	    --work-dir work_dirs/demo --jobs $(JOBS) $(ARGS)

demo-seg: env
	$(PY) tools/compare.py $(DEMO_SEG) --work-dir work_dirs/demo-seg --jobs $(JOBS) \
	    $(ARGS)

test: env
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses=$(JOBS) --dist=loadfile \
	    --durations=10 $(ARGS)

test-gpu: env
	$(PY) -m pytest -m gpu $(ARGS)

fuzz: env
	MMHKT_FUZZ=25000 OMP_NUM_THREADS=1 $(PY) -m pytest tests/test_properties \
	    --hypothesis-show-statistics $(ARGS)

faults: env
	MMHKT_KILLS=50 OMP_NUM_THREADS=1 $(PY) -m pytest -s tests/test_faults $(ARGS)

fresh: env
	MMHKT_FRESH=1 OMP_NUM_THREADS=1 $(PY) -m pytest tests/test_docs_code.py \
	    -k 'start or own or python' --durations=5 $(ARGS)

coverage: env
	OMP_NUM_THREADS=1 nice -n 5 $(PY) tools/maintenance/zoo_survey.py --again \
	    docs/coverage.json $(ARGS)
	$(PY) tools/maintenance/coverage_page.py docs/coverage.json docs/coverage.md README.md

env: $(STAMP)

# The stamp comes last: an install that was interrupted starts again.
$(STAMP): setup.py pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	    echo 'mmhkt: no "$(PYTHON)" here; name a Python >= 3.10 with' \
	        'make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "mmhkt: needs Python >= 3.10, but $(PYTHON) is" \
	        "$$($(PYTHON) -V 2>&1); name another with make PYTHON=..." >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo 'mmhkt: $(PYTHON) cannot make virtual environments; on Debian' \
	        'and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip 'setuptools<82' wheel
	$(PIP) $(TORCH) -e '.[onedl,demo,demo-seg,tests]'
	$(PY) -c 'import torchvision, mmhkt'
	touch $@

lint: env
	$(PIP) --quiet -e '.[lint]' $(TORCH)
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m isort --check-only --diff $(SOURCES)
	$(PY) -m yapf --recursive --parallel --diff $(SOURCES)
	$(PY) -m mypy
	# Versions of Debian's packages are those of the image.
	$(VENV)/bin/hadolint --ignore DL3008 docker/*.Dockerfile

docs: env
	$(PIP) --quiet -e '.[docs]' $(TORCH)
	rm -rf docs/_build/html
	$(PY) -m sphinx -b html --fail-on-warning --keep-going --quiet docs \
	    docs/_build/html
	$(PY) docs/check_links.py docs/_build/html

clean:
	rm -rf build dist docs/_build *.egg-info .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
	if [ -f $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi
