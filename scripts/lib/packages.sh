# packages.sh -- the system packages that mneme needs, and how a missing one is found and installed. Sourced.

# package | how to see that it is there: cmd:NAME, pc:PKG-CONFIG-MODULE, h:HEADER, lib:LIBRARY | why
package_table='
gcc|cmd:cc|C compiler
g++|cmd:c++|C++ compiler, for FAISS
libc6-dev|h:stdio.h|C library headers
cmake|cmd:cmake|build system
ninja-build|cmd:ninja|runs the build
pkg-config|cmd:pkg-config|finds the libraries below
libopenblas-serial-dev|lib:openblas|OpenBLAS, one thread: what FAISS computes with
liblmdb-dev|h:lmdb.h|LMDB: the store
libyaml-dev|pc:yaml-0.1|settings files
libjansson-dev|pc:jansson|JSON
libxxhash-dev|pc:libxxhash|content hashes
libzstd-dev|pc:libzstd|compressed texts
libutf8proc-dev|pc:libutf8proc|Unicode
libstemmer-dev|h:libstemmer.h|Snowball stems for lexical search
libxml2-dev|pc:libxml-2.0|reading HTML
libcurl4-openssl-dev|pc:libcurl|model pull: downloads
libssl-dev|pc:libcrypto|model pull: checksums
libcmocka-dev|pc:cmocka|unit tests
libmicrohttpd-dev|pc:libmicrohttpd|tests of downloads: the server
jq|cmd:jq|tests of JSON output
git|cmd:git|tests of ignore files
'

header_is_there() { printf '#include <%s>\n' "$1" | cc -E -x c - > /dev/null 2>&1; }

library_is_there() {
  local folder
  for folder in $(cc -print-search-dirs 2> /dev/null | sed -n 's/^libraries: =//p' | tr ':' ' ') /usr/lib/*/openblas-*; do
    [ -e "$folder/lib$1.so" ] || [ -e "$folder/lib$1.a" ] && return 0
  done
  return 1
}

is_there() {
  case $1 in
    cmd:*) command -v "${1#cmd:}" > /dev/null 2>&1 ;;
    pc:*) pkg-config --exists "${1#pc:}" 2> /dev/null ;;
    h:*) header_is_there "${1#h:}" ;;
    lib:*) library_is_there "${1#lib:}" ;;
  esac
}

# "package|why" lines of what is missing.
missing_packages() {
  local package probe why
  while IFS='|' read -r package probe why; do
    [ -n "$package" ] || continue
    is_there "$probe" || printf '%s|%s\n' "$package" "$why"
  done <<< "$package_table"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Can apt install here, now? Says on stdout what is in the way.
apt_obstacle() {
  if ! command -v apt-get > /dev/null 2>&1; then
    echo "this system has no apt-get: install what these Debian packages hold, then run scripts/setup again"
  elif [ "$(id -u)" -ne 0 ] && ! command -v sudo > /dev/null 2>&1; then
    echo "installing needs root and there is no sudo: as root, run the line below, then scripts/setup again"
  fi
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -q \
    -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}
apt_update() { as_root apt-get update -q -o DPkg::Lock::Timeout=300; }
# With the lists that are here; with fresh ones where those are too old or none.
apt_update_and_install() { apt_install "$@" || { apt_update && apt_install "$@"; }; }

# install_packages "package|why"...: says each, installs all, or exits with the line to run by hand.
install_packages() {
  local line names=() obstacle
  for line in "$@"; do
    names+=("${line%%|*}")
    say "  ${line%%|*}: ${line#*|}"
  done
  obstacle=$(apt_obstacle)
  [ -z "$obstacle" ] || fail "$obstacle" "apt-get install ${names[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    say "  (through sudo: it may ask for your password)"
    sudo -v || fail "sudo was refused: as root, run the line below, then scripts/setup again" "apt-get install ${names[*]}"
  fi
  logged "apt: ${#names[@]} package$([ ${#names[@]} -eq 1 ] || echo s)" apt apt_update_and_install "${names[@]}" ||
    fail "apt could not install: ${names[*]}" \
      "Look at $cache/logs/apt.log. By hand, as root: apt-get update && apt-get install ${names[*]}"
}

install_missing_packages() {
  local missing=()
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0
  say "Installing what is missing on this system:"
  install_packages "${missing[@]}"
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -eq 0 ] || fail "still missing after installing: $(printf '%s ' "${missing[@]%%|*}")"
}
