#!/usr/bin/env bash
# Builds the PANOPTES images; `docker/build-image.sh --help` says how. docker/README.md teaches it.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: docker/build-image.sh base|utils|all [options]

  base    panoptes-base: operating system and tools
  utils   panoptes-utils: panoptes-base, panoptes-env, the panoptes_utils module
  all     both, in that order

Options
  --arch LIST         flavours, comma-separated: amd64, arm32v7, arm64v8 (default: this machine's own)
  --registry NAME     put in front of image names, for instance ghcr.io/panoptes (default: $PANOPTES_REGISTRY, or none)
  --tag TAG           tag of the manifest list (default: latest). Flavours are tagged FLAVOUR, or TAG-FLAVOUR for another tag
  --base-image NAME   what panoptes-base (for `utils`: panoptes-utils) is built on; {arch} stands for the flavour
                      (default: continuumio/miniconda3, debian:trixie-slim for arm32v7; for utils the panoptes-base flavour)
  --push              push the flavours and a manifest list over them
  --no-build          take the flavours as they are, here or in the registry; with --push this makes the manifest list
  --dirty             allow --push from a tree with uncommitted changes; the revision label then says -dirty
  --sbom              write a package list (SPDX) of every flavour to artifacts/sbom/
  --cloud             submit docker/cloudbuild-{base,utils}.yaml to Google Cloud Build instead of building here
  --print             print the commands, one a line, and run none
  -h, --help          this text

The command line `docker` needs BuildKit; $DOCKER names another one.
HELP
}

say() { printf 'build-image: %s\n' "$*"; }
fail() { printf 'build-image: %s\n' "$*" >&2; exit 1; }

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
docker=${DOCKER:-docker}
all_flavours="amd64 arm32v7 arm64v8"
images="" flavours="" registry=${PANOPTES_REGISTRY:-} tag=latest base_image=""
push=false build=true dirty=false sbom=false cloud=false print=false

declare -A platform=([amd64]=linux/amd64 [arm32v7]=linux/arm/v7 [arm64v8]=linux/arm64/v8)
declare -A emulator=([amd64]=qemu-x86_64 [arm32v7]=qemu-arm [arm64v8]=qemu-aarch64)
# The processor that is emulated, where it matters: what emulators take for arm64 by default signs every return address,
# and they spend nine tenths of the time on that. A Raspberry Pi 4 signs none.
declare -A processor=([arm64v8]=cortex-a72)

own_flavour() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64 | arm64) [ "$(dpkg --print-architecture 2>/dev/null)" = armhf ] && echo arm32v7 || echo arm64v8 ;;
    armv7l) echo arm32v7 ;;
    *) echo unknown ;;
  esac
}

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --arch | --registry | --tag | --base-image)
        [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value; see --help" ;;&
      base | utils) images="$images $1"; shift ;;
      all) images="base utils"; shift ;;
      --arch) flavours=${2//,/ }; shift 2 ;;
      --registry) registry=${2%/}; shift 2 ;;
      --tag) tag=$2; shift 2 ;;
      --base-image) base_image=$2; shift 2 ;;
      --push) push=true; shift ;;
      --no-build) build=false; shift ;;
      --dirty) dirty=true; shift ;;
      --sbom) sbom=true; shift ;;
      --cloud) cloud=true; shift ;;
      --print) print=true; shift ;;
      -h | --help) usage; exit 0 ;;
      *) fail "unknown argument '$1'; see --help" ;;
    esac
  done
  [ -n "$images" ] || { usage >&2; fail "say what to build: base, utils or all"; }
  for flavour in $flavours; do
    [ -n "${platform[$flavour]:-}" ] || fail "unknown architecture '$flavour'; known are ${all_flavours// /, }"
  done
  [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || fail "'$tag' is not a tag; use letters, digits, '.', '_' and '-'"
  if $push && [ -z "$registry" ]; then fail "--push needs a registry; give --registry NAME or set PANOPTES_REGISTRY"; fi
  if $cloud; then
    [ -n "$registry" ] || fail "--cloud needs a registry; give --registry NAME or set PANOPTES_REGISTRY"
    [ -z "$flavours$base_image" ] || fail "--cloud makes every flavour on its default base; leave --arch and --base-image out"
  fi
  own=$(own_flavour)
  flavours=${flavours:-$own}
  [ "$flavours" != unknown ] || fail "no flavour is made for machine type $(uname -m); name one: --arch amd64"
}

# What the labels say: the commit, its date, the version, where the sources are.
read_labels() {
  local git=(git -c "safe.directory=*" -C "$top") changes=""
  version=$(cat "$top/panoptes_utils/VERSION")
  revision=$("${git[@]}" rev-parse HEAD 2>/dev/null) || revision=unknown
  created=$(TZ=UTC "${git[@]}" log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null) ||
    created=1970-01-01T00:00:00Z
  source_url=$("${git[@]}" remote get-url origin 2>/dev/null | sed -E 's#//[^/@]*@#//#') || true
  [[ $source_url == https://* ]] || source_url=https://www.projectpanoptes.org
  [ "$revision" = unknown ] || changes=$("${git[@]}" status --porcelain --untracked-files=normal)
  [ -z "$changes" ] || revision=$revision-dirty
  if $push && ! $dirty && ! $print; then
    [ "$revision" != unknown ] || fail "--push needs to know the commit, and $top is not a git checkout; push from one, or give --dirty"
    [ -z "$changes" ] ||
      fail "--push from a tree with uncommitted changes ($(wc -l <<<"$changes") files); commit them, or give --dirty"
  fi
}

name_of() { echo "${registry:+$registry/}panoptes-$1"; }
flavour_of() { if [ "$tag" = latest ]; then echo "$(name_of "$1"):$2"; else echo "$(name_of "$1"):$tag-$2"; fi; }

base_of() { # IMAGE FLAVOUR
  if [ -n "$base_image" ] && { [ "$1" = base ] || [[ $images != *base* ]]; }; then echo "${base_image//\{arch\}/$2}"
  elif [ "$1" = utils ]; then flavour_of base "$2"
  elif [ "$2" = arm32v7 ]; then echo debian:trixie-slim
  else echo continuumio/miniconda3; fi
}

dockerfile_of() { # IMAGE FLAVOUR
  case $1-$2 in
    base-*) echo docker/Dockerfile ;;
    utils-arm32v7) echo docker/Dockerfile.utils.rpi ;;
    utils-*) echo docker/Dockerfile.utils.amd64 ;;
  esac
}

# --- the plan: one command a line, words separated by blanks -----------------------------------------------------

plan_build() { # IMAGE FLAVOUR
  echo "docker build --platform ${platform[$2]} --file $(dockerfile_of "$1" "$2") --tag $(flavour_of "$1" "$2")" \
    "--build-arg BASE_IMAGE=$(base_of "$1" "$2") --build-arg REVISION=$revision --build-arg VERSION=$version" \
    "--build-arg CREATED=$created --build-arg SOURCE=$source_url${processor[$2]:+ --build-arg QEMU_CPU=${processor[$2]}} ."
}

# Without a registry there is no manifest list: the tag then names this machine's own flavour.
plan_local_tag() { # IMAGE
  if [ -z "$registry" ] && [[ " $flavours " == *" $own "* ]]; then
    echo "docker tag $(flavour_of "$1" "$own") $(name_of "$1"):$tag"
  fi
}

plan_push() { # IMAGE
  local list arch variant flavour
  list=$(name_of "$1"):$tag
  for flavour in $flavours; do echo "docker push $(flavour_of "$1" "$flavour")"; done
  echo "docker manifest create $list$(for flavour in $flavours; do echo -n " $(flavour_of "$1" "$flavour")"; done)"
  for flavour in $flavours; do
    IFS=/ read -r _ arch variant <<<"${platform[$flavour]}"
    echo "docker manifest annotate --os linux --arch $arch${variant:+ --variant $variant} $list $(flavour_of "$1" "$flavour")"
  done
  echo "docker manifest push --purge $list"
}

plan_cloud() { # IMAGE
  echo "gcloud builds submit --config docker/cloudbuild-$1.yaml --substitutions" \
    "_REGISTRY=$registry,_TAG=$tag,_PREFIX=$([ "$tag" = latest ] || echo "$tag-"),_REVISION=$revision,_VERSION=$version,_CREATED=$created,_SOURCE=$source_url ."
}

# --- running it ----------------------------------------------------------------------------------------------------

check_docker() {
  command -v "$docker" >/dev/null || fail "'$docker' is not installed; install Docker Engine, or name its command line in \$DOCKER"
  "$docker" info >/dev/null 2>&1 || fail "Docker Engine does not answer; start it ('systemctl start docker'), or check DOCKER_HOST"
  $build || return 0
  local version_text
  version_text=$("$docker" version --format '{{.Client.Version}}' 2>/dev/null || true)
  if ! "$docker" buildx version >/dev/null 2>&1 && [ "${version_text%%.*}" -ge 23 ] 2>/dev/null; then
    fail "'$docker' $version_text has no BuildKit; install docker-buildx (Debian) or docker-buildx-plugin (Docker's repository)"
  fi
}

check_emulators() {
  [ -d /proc/sys/fs/binfmt_misc ] || return 0   # not Linux: Docker Desktop brings its own
  local flavour
  for flavour in $flavours; do
    [ "$flavour" != "$own" ] || continue
    [ "$own-$flavour" != arm64v8-arm32v7 ] || continue
    grep -qs enabled "/proc/sys/fs/binfmt_misc/${emulator[$flavour]}" ||
      fail "no emulator for $flavour is registered on this machine; install qemu-user-static and binfmt-support, or build on $flavour itself"
  done
}

check_disk() {
  local root free
  root=$("$docker" info --format '{{.DockerRootDir}}')
  [ -d "$root" ] || return 0
  free=$(df --output=avail -k "$root" | tail -1)
  [ "$free" -ge $((4 * 1024 * 1024)) ] ||
    fail "only $((free / 1024)) MB free in $root and a build takes up to 4096 MB; free some ('docker system prune') and run this again"
}

# Runs one command of the plan; its output is shown, and a known failure is said in one line.
run() {
  local log line=$*
  log=$(mktemp)
  [ "$1" = docker ] && set -- "$docker" "${@:2}"
  say "$line"
  if ! (cd "$top" && DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain "$@") 2>&1 | tee "$log"; then
    local reason
    reason=$(tail -1 "$log")
    if grep -qi 'no space left on device' "$log"; then
      reason="the disk is full; free some ('docker system prune') and run this again"
    elif grep -qE 'exec: \\?"/bin/sh\\?".*no such file|/bin/sh: no such file' "$log"; then
      reason="the base image has no shell; give one that has: --base-image debian:trixie-slim"
    elif [[ $line == "docker push"* || $line == "docker manifest"* ]]; then
      reason="the registry refuses: $reason; check its address, its certificate and 'docker login $registry'"
    elif [[ $line == "docker build"* ]] && grep -qE 'failed to do request|pull access denied|not found: not found|manifest unknown' "$log"; then
      reason="the base image cannot be had: $reason; check --base-image, or build panoptes-base first"
    fi
    rm -f "$log"
    fail "nothing further was done. $reason"
  fi
  rm -f "$log"
}

# The package list of an image, from its own dpkg database; Debian's debsbom reads the file system as it is.
write_sbom() { # IMAGE FLAVOUR
  local name file container log
  name=$(flavour_of "$1" "$2")
  log=$(mktemp)
  file=artifacts/sbom/panoptes-$1-$2
  say "package list $file.spdx.json"
  mkdir -p "$top/artifacts/sbom"
  container=$("$docker" create --platform "${platform[$2]}" "$name")
  "$docker" export "$container" | (cd "$top" && debsbom generate --sbom-type spdx --root - --out "$file" \
    --distro-name "panoptes-$1" --distro-version "$version" --timestamp "$created") >"$log" 2>&1 ||
    { "$docker" rm "$container" >/dev/null; fail "no package list of $name ($(tail -1 "$log")); nothing was pushed"; }
  "$docker" rm "$container" >/dev/null
  rm -f "$log"
}

label_of() { "$docker" image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null; }

# A manifest list promises one release for every platform.
check_revisions() { # IMAGE
  local flavour name found first="" first_flavour="" label
  for label in org.opencontainers.image.revision org.projectpanoptes.base.revision; do
    first=""
    for flavour in $flavours; do
      name=$(flavour_of "$1" "$flavour")
      if ! "$docker" image inspect "$name" >/dev/null 2>&1; then
        "$docker" pull --quiet --platform "${platform[$flavour]}" "$name" >/dev/null 2>&1 ||
          fail "flavour $name is neither here nor in the registry; build it first, without --no-build"
      fi
      found=$(label_of "$name" "$label")
      if [ -n "$first" ] && [ "$found" != "$first" ]; then
        fail "$(name_of "$1"): flavours come from different commits ($first_flavour from ${first:0:12}, $flavour from ${found:0:12}); build all of them from one commit, nothing was pushed"
      fi
      first=$found first_flavour=$flavour
    done
  done
}

main() {
  parse "$@"
  read_labels
  local image flavour line
  if $print; then
    for image in $images; do
      if $cloud; then plan_cloud "$image"; continue; fi
      if $build; then
        for flavour in $flavours; do plan_build "$image" "$flavour"; done
        plan_local_tag "$image"
      fi
      if $push; then plan_push "$image"; fi
    done
    return
  fi
  if $cloud; then
    command -v gcloud >/dev/null || fail "--cloud needs Google's command line 'gcloud'; install it, or build here without --cloud"
    for image in $images; do read -ra line < <(plan_cloud "$image"); run "${line[@]}"; done
    return
  fi
  check_docker
  if $sbom && ! command -v debsbom >/dev/null; then
    fail "--sbom needs debsbom; install it ('pip install debsbom[spdx]', or 'make venv'), or leave --sbom out"
  fi
  if $build; then
    check_emulators
    check_disk
    for image in $images; do
      for flavour in $flavours; do
        read -ra line < <(plan_build "$image" "$flavour")
        run "${line[@]}"
      done
      while read -ra line; do run "${line[@]}"; done < <(plan_local_tag "$image")
    done
  fi
  # Everything is built and checked before the first push: no half manifest.
  if $sbom; then
    for image in $images; do for flavour in $flavours; do write_sbom "$image" "$flavour"; done; done
  fi
  if $push; then
    for image in $images; do check_revisions "$image"; done
    for image in $images; do
      "$docker" manifest rm "$(name_of "$image"):$tag" >/dev/null 2>&1 || true   # what an interrupted run left
      while read -ra line; do run "${line[@]}" </dev/null; done < <(plan_push "$image")
    done
  fi
  say "done: $(for image in $images; do for flavour in $flavours; do echo -n "$(flavour_of "$image" "$flavour") "; done; done)"
}

main "$@"
