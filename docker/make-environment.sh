#!/bin/sh
# Makes panoptes-env from a list of conda specifications: make-environment.sh conda-environment-FLAVOUR.yaml
# With conda where the base image has it; else an environment of the same name, path and activation command over
# Debian's own packages (docs/decisions/no-berryconda.md says why).
set -eu

list=$1
root=/opt/conda
environment=$root/envs/panoptes-env

conda_environment() {
    conda env create --quiet --yes --prefix "$environment" --file "$list"
    conda clean --all --yes --quiet
}

# The Debian package of a conda specification; nothing for what Python itself brings.
debian_name() {
    name=$(printf '%s' "$1" | sed 's/[<>=! ].*//')
    case $name in
        python) echo python3 ;;
        pip) echo python3-venv ;;
        matplotlib-base) echo python3-matplotlib ;;
        pillow) echo python3-pil ;;
        pyserial) echo python3-serial ;;
        pyzmq) echo python3-zmq ;;
        scikit-image) echo python3-skimage ;;
        *) echo "python3-$name" ;;
    esac
}

debian_environment() {
    packages=$(sed -n '/^dependencies:/,$s/^ *- *//p' "$list" | while read -r specification; do
        debian_name "$specification"
    done)
    # shellcheck disable=SC2086  # one word a package
    "$(dirname "$0")/install-packages.sh" $packages

    mkdir -p "$root/envs" "$root/bin" "$root/etc/profile.d"
    python3 -m venv --system-site-packages "$environment"
    install -m 0644 "$(dirname "$0")/conda-shim" "$root/etc/profile.d/conda.sh"
}

if command -v conda > /dev/null || [ -x "$root/bin/conda" ]; then
    PATH=$root/bin:$PATH conda_environment
else
    debian_environment
fi
