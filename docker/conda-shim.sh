# Stands in for `conda activate` where the image has no conda; sourced by zsh and bash.
conda() {
  case "$1" in
    activate)
      if [ "${2:-panoptes-env}" != panoptes-env ]; then
        echo "conda: this image has one environment, panoptes-env; there is no $2" >&2
        return 1
      fi
      export CONDA_DEFAULT_ENV=panoptes-env CONDA_PREFIX=/opt/conda/envs/panoptes-env
      case ":$PATH:" in
        *":$CONDA_PREFIX/bin:"*) ;;
        *) PATH="$CONDA_PREFIX/bin:$PATH" ;;
      esac
      ;;
    deactivate)
      PATH=$(printf '%s' ":$PATH:" | sed 's#:/opt/conda/envs/panoptes-env/bin:#:#g; s/^://; s/:$//')
      unset CONDA_DEFAULT_ENV CONDA_PREFIX
      ;;
    env | info) echo "panoptes-env  /opt/conda/envs/panoptes-env" ;;
    *)
      echo "conda: this image has no conda, its panoptes-env is made of Debian packages; only activate and deactivate work" >&2
      return 1
      ;;
  esac
}
