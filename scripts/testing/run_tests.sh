#!/usr/bin/env bash
# The module's tests, where the module's working directory is: scripts/testing/run_tests.sh [--quick] [pytest arguments]
# --quick: those that an emulated processor gets through in two minutes.
# Meant to run inside the panoptes-utils image, as `make test-image` and the hosted checks do; results go to /tmp.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export COVERAGE_FILE=/tmp/coverage
tests=tests/fast/panoptes_utils
if [ "${1:-}" = --quick ]; then
  shift
  set -- -m "not lab and not slow and not tools" --no-cov "$@" $tests/serializers $tests/test_{time,horizon,database,utils}.py \
    $tests/images/test_{bayer,fits_io,pixels}.py
fi
# A run of everything must also reach nearly every branch; a run of a part need not.
rm -f /tmp/coverage.json
least=$([ $# -eq 0 ] && echo 90 || echo 0)
# The other packages run elsewhere than in this image, and so do their tests.
[[ " $* " == *" tests/"* ]] || set -- "$@" "$tests"
python -m pytest -p no:cacheprovider -m "not lab" \
  --cov=panoptes_utils --cov-config=pyproject.toml --cov-report=term:skip-covered --cov-report=json:/tmp/coverage.json "$@"
[ ! -f /tmp/coverage.json ] || python scripts/testing/require_branches.py /tmp/coverage.json "$least"
