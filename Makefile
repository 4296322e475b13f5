# `make` alone lists what can be made.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.DEFAULT_GOAL := help
.PHONY: help venv controller settings lab lab-clean unit unit-clean lint test test-python test-sequences fuzz test-image molecule test-lab test-update test-heal test-pi test-pi64 bench-provisioning bench-pi bench-update bench-heal bench-services bench-images test-arm64 dockerfiles docs bench-images-lib bench-foreign clean test-pocs

help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

venv: .venv/.complete ## The virtual environment .venv with all that the other targets need

.venv/.complete: setup.py panoptes_utils/VERSION scripts/make-venv.sh
	PYTHON="$(PYTHON)" scripts/make-venv.sh .venv

controller: ## The virtual environment .venv-controller with what provisions units and looks after them, no test tools
	PYTHON="$(PYTHON)" scripts/make-venv.sh .venv-controller controller

settings: ## Ask for this unit's settings, write inventory/group_vars/units/90-mine.yml (FROM=FILE: an old units.yml)
	scripts/settings.py $(if $(FROM),--from "$(FROM)")

lab: venv ## Docker Engine, both images and a TLS registry on this machine (again: nothing to do)
	python -m lab up

lab-clean: venv ## Remove all that the lab made, and nothing else
	python -m lab clean

unit: venv ## A simulated unit on this machine: provisioned, services answering, a sky image solved
	python -m lab unit

unit-clean: venv ## Remove the simulated unit, keep the lab
	python -m lab unit --remove

lint: venv ## ansible-lint, yamllint, ruff and its format, mypy, playbook syntax
	ruff check
	ruff format --check
	mypy
	yamllint .
	ansible-playbook playbooks/unit.yml -i inventory/ --syntax-check
	ansible-lint --profile production

test: venv ## Everything: lint, Python tests, tests inside the image, Molecule
	scripts/testing/run_all.sh

test-python: venv ## Tests that need nothing but this machine, with every fault (a quarter of an hour; nightly)
	PANOPTES_EVERY_FAULT=1 pytest -m "not lab" tests

test-sequences: venv ## 10,000 sequences of verbs, power cuts, signals and losses on a fake engine (10 minutes; nightly)
	PANOPTES_SEQUENCES=10000 pytest -q tests/fast/panoptes_unit/deploy/test_any_order.py

fuzz: venv ## A million damaged inputs for each reader of what others wrote (half an hour on two processors)
	python tests/fuzz/fuzz.py

test-pocs: venv ## POCS' own tests with our panoptes-utils and with upstream's (benchmarks/pocs.md; 40 minutes; nightly)
	python benchmarks/pocs.py

test-image: lab ## The module's tests inside the panoptes-utils image, the checkout mapped over the module
	python -m lab test-image

molecule: lab ## The Molecule scenarios of the main job and of updates
	molecule test -s default
	molecule test -s update

test-lab: lab ## The tests on the lab with every fault (half an hour; nightly)
	PANOPTES_EVERY_FAULT=1 pytest -m lab tests

test-update: lab ## Scenario update with every signal, loss and kill at every point of the journal (half an hour; nightly)
	PANOPTES_EVERY_FAULT=1 molecule test -s update

test-heal: lab ## Scenario heal: a unit damaged in all ways comes back to work by itself (an hour; nightly)
	molecule test -s heal

test-pi: lab ## unit.yml on a virtual ARMv7 machine, restart, power cuts, dead card (half an hour; nightly)
	PANOPTES_EVERY_FAULT=1 molecule test -s pi

test-pi64: lab ## The same on a virtual ARM64 machine (half an hour; nightly)
	PANOPTES_EVERY_FAULT=1 molecule test -s pi64

test-arm64: lab ## The images' checks on arm64v8 too, through emulation (a quarter of an hour the first time; nightly)
	PANOPTES_TEST_FLAVOURS=amd64,arm32v7,arm64v8 pytest tests/lab/images/test_platforms.py

bench-services: venv ## Config server and messaging hub beside their peers (benchmarks/services.md; 6 minutes)
	python benchmarks/services.py

bench-images: unit ## Weight of the images, download after a module change, cost of solving inside
	python benchmarks/images.py

bench-update: unit ## Service gap, way back and a night without news (benchmarks/update.md)
	python benchmarks/update.py

bench-heal: unit ## What looking after itself costs a unit, and how long repairs take (benchmarks/heal.md; after test-heal)
	python benchmarks/heal.py

bench-provisioning: unit ## What a rerun of unit.yml costs (benchmarks/provisioning.md)
	python benchmarks/provisioning.py

bench-pi: venv ## A blank emulated ARMv7 machine becomes a unit, role by role (benchmarks/pi.md; 18 minutes)
	python -m lab up --flavours amd64,arm32v7
	python benchmarks/pi.py

dockerfiles: ## docker/Dockerfile.utils.rpi from docker/Dockerfile.utils.amd64, after an edit of that
	sed -e '1s/^.*$$/# panoptes-utils for arm32v7, made of Dockerfile.utils.amd64: edit that, then "make dockerfiles"./' \
	  -e 's/conda-environment-amd64/conda-environment-rpi/g' docker/Dockerfile.utils.amd64 > docker/Dockerfile.utils.rpi

docs: venv ## The pages of the Python module, from its docstrings: docs/site/api/index.html
	sphinx-build --fail-on-warning --keep-going --quiet docs/api docs/site/api

bench-images-lib: lab ## Figures of the image functions, inside panoptes-utils (benchmarks/images_lib.md)
	mkdir -p artifacts
	python -m lab in-image python benchmarks/images_lib.py > artifacts/images_lib.md
	mv artifacts/images_lib.md benchmarks/
	cat benchmarks/images_lib.md

bench-foreign: venv ## Files that other packages ship, with the outcome of each (benchmarks/foreign_files.md)
	mkdir -p artifacts
	python benchmarks/foreign_files.py > artifacts/foreign_files.md
	mv artifacts/foreign_files.md benchmarks/

clean: ## Remove the virtual environment and build products of this checkout
	rm -rf .venv .venv-controller build dist artifacts .mypy_cache .pytest_cache .ruff_cache .hypothesis
