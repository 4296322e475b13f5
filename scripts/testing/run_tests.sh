#!/usr/bin/env bash
# The module's tests, where the module's working directory is: scripts/testing/run_tests.sh [--quick] [pytest arguments]
# --quick: those that an emulated processor gets through in two minutes.
# Meant to run inside the panoptes-utils image, as `make test-image` and the hosted checks do; results go to /tmp.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export COVERAGE_FILE=/tmp/coverage
# Of the repository, of provisioning and of the tool on the unit: these need Ansible or Debian's python3-docker, which
# the image has no use for.
elsewhere=(backup deploy docker raspberry_pi repo unit unit_probe)
if [ "${1:-}" = --quick ]; then
  shift
  set -- -m "not lab and not slow and not tools" --no-cov "$@" tests/serializers tests/test_{time,horizon,database,utils}.py \
    tests/images/test_{bayer,fits_io,pixels}.py
fi
# A run of everything must also reach nearly every branch; a run of a part need not.
rm -f /tmp/coverage.json
least=$([ $# -eq 0 ] && echo 90 || echo 0)
python -m pytest -p no:cacheprovider -m "not lab" "${elsewhere[@]/#/--ignore=tests/}" \
  --cov=panoptes_utils --cov-config=pyproject.toml --cov-report=term:skip-covered --cov-report=json:/tmp/coverage.json "$@"
[ ! -f /tmp/coverage.json ] || python - "$least" << 'END'
import json, sys
total, least = json.load(open("/tmp/coverage.json"))["totals"], float(sys.argv[1])
share = 100 * total["covered_branches"] / total["num_branches"]
print(f"branches: {share:.1f} %")
sys.exit(f"fewer than {least:g} % of the branches were taken" if share < least else 0)
END
