#!/usr/bin/env bash
# The module's tests, where the module's working directory is: scripts/testing/run_tests.sh [pytest arguments]
# Meant to run inside the panoptes-utils image, as `make test-image` and the hosted checks do; results go to /tmp.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export COVERAGE_FILE=/tmp/coverage
exec python -m pytest -p no:cacheprovider -m "not lab" \
  --cov=panoptes_utils --cov-report=term --cov-report=xml:/tmp/coverage.xml "$@"
