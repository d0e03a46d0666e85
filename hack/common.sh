# shellcheck shell=bash
# What the scripts of this folder share.
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Everything that is made is in here.
out=$PWD/target/hack

# A path that the caller gave, who may be elsewhere.
path() {
  case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$caller/$1" ;;
  esac
}

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Prints the comment at the head of the script that runs.
usage() {
  sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# The version that Cargo.toml has.
version() {
  sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1
}

# The path of a program that tests/MODULE/go.mod pins: `go_tool MODULE PACKAGE`.
go_tool() {
  local module=$1 package=$2
  command -v go >/dev/null || die "go is missing: it builds ${package##*/} from tests/$module"
  mkdir -p "$out"
  go -C "tests/$module" build -trimpath -ldflags='-s -w' -o "$out/${package##*/}" "$package" >&2 ||
    die "${package##*/} could not be built from tests/$module"
  printf '%s\n' "$out/${package##*/}"
}

# Helm: $HELM, or the one that the tests pin.
helm_path() {
  printf '%s\n' "${HELM:-$(go_tool helm helm.sh/helm/v4/cmd/helm)}"
}
