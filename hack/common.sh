# shellcheck shell=bash
# What the scripts of this folder share.
set -euo pipefail
# A failure inside $(...) counts, too. The bash of macOS does not have this option.
shopt -s inherit_errexit 2>/dev/null || true
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
  sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$(path "$0")" >&2
  exit 2
}

# Fails unless these programs take the options of GNU's: those of macOS do not.
needs_gnu() {
  local program
  for program in "$@"; do
    case $("$program" --version 2>/dev/null || true) in
      *GNU* | *uutils*) ;;
      *) die "${0##*/} needs GNU $program, and this one is not: on macOS, install gnu-sed, gnu-tar and coreutils, and put their gnubin folders first in PATH" ;;
    esac
  done
}

# The SHA-256 of a file.
digest() {
  if command -v sha256sum >/dev/null; then
    sha256sum <"$1"
  else
    shasum -a 256 <"$1"
  fi | cut -d' ' -f1
}

# The version that Cargo.toml has.
version() {
  sed -n '/^version = "/{s/^version = "\(.*\)"$/\1/p;q;}' Cargo.toml
}

# A section of CHANGELOG.md, without its heading: `section VERSION`. One line for each change.
section() {
  # Lines that are indented continue the one before.
  awk -v heading="## [$1]" '
    function flush() { if (line != "") print line; line = "" }
    index($0, "## [") == 1 || $0 ~ /^\[[^]]*\]: / { flush(); inside = index($0, heading) == 1; next }
    !inside { next }
    /^  / { sub(/^ +/, ""); line = line " " $0; next }
    { flush(); line = $0; if ($0 == "") print "" }
    END { flush() }
  ' CHANGELOG.md
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

# The folder of the programs that tests/MODULE/requirements.txt pins: `python_tools MODULE`. Wheels only, so that nothing of a package runs at
# installation.
python_tools() {
  local module=$1 pinned new venv
  command -v python3 >/dev/null || die "python3 is missing: install Python 3.10 or newer with venv"
  pinned=$(digest "tests/$module/requirements.txt")
  venv=$out/$module-${pinned:0:12}
  if ! [ -d "$venv" ]; then
    mkdir -p "$out"
    new=$(mktemp -d "$out/$module.XXXXXX")
    {
      python3 -I -m venv "$new"
      "$new/bin/python" -I -m pip install --quiet --no-input --disable-pip-version-check --no-deps --only-binary=:all: \
        --requirement "tests/$module/requirements.txt"
    } >&2
    # Another run may have been faster.
    if [ -d "$venv" ]; then
      rm -rf "$new"
    else
      mv "$new" "$venv"
    fi
  fi
  printf '%s\n' "$venv/bin"
}

# Helm: $HELM, or the one that the tests pin.
helm_path() {
  if [ -n "${HELM:-}" ]; then
    printf '%s\n' "$HELM"
  else
    go_tool helm helm.sh/helm/v4/cmd/helm
  fi
}
