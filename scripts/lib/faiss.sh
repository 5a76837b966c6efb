# faiss.sh -- FAISS 1.12 with its C API: a system library, or built once into the cache for this processor. Sourced.
#
#   $cache/faiss-1.12.0-<level>/{include/faiss/c_api,lib}   what the build of mneme reads; appears whole or not at all
#   $cache/faiss-1.12.0-src/                                source, checked against scripts/faiss-1.12.0.sha256
#   $cache/faiss-1.12.0-<level>.build/                      build in progress; an interrupted one goes on from here

faiss_version=1.12.0
faiss_url=${MNEME_FAISS_URL:-https://github.com/facebookresearch/faiss/archive/refs/tags/v$faiss_version.tar.gz}
faiss_manifest=$source_dir/scripts/faiss-$faiss_version.sha256
faiss_source=$cache/faiss-$faiss_version-src
crate_checksum=c4a8fa67f7070bb81f41dc71c98813b3e40a66bedab12d6c2ac2af50f0837a7e

has_cpu_flags() {
  local flags flag
  flags=" $(sed -n 's/^flags[^:]*://p' /proc/cpuinfo | head -n 1) "
  for flag in "$@"; do
    case $flags in *" $flag "*) ;; *) return 1 ;; esac
  done
}

# The best level that this processor has; MNEME_FAISS_LEVEL overrides it.
faiss_level() {
  if [ -n "${MNEME_FAISS_LEVEL:-}" ]; then
    case $MNEME_FAISS_LEVEL in
      avx512 | avx2) echo "$MNEME_FAISS_LEVEL" ;;
      *) fail "MNEME_FAISS_LEVEL is \"$MNEME_FAISS_LEVEL\": it can be avx512 or avx2" ;;
    esac
  elif has_cpu_flags avx512f avx512cd avx512vl avx512dq avx512bw fma f16c; then echo avx512
  elif has_cpu_flags avx2 fma f16c; then echo avx2
  else fail "this processor lacks AVX2, and FAISS is built for AVX2 or AVX-512 here; a system libfaiss_c would do"
  fi
}

# A system libfaiss_c of 1.11 or newer? cmake/FindFaissC.cmake looks for the same.
system_faiss() {
  local header version
  library_is_there faiss_c && header_is_there faiss/c_api/utils/distances_c.h || return 1
  header=$(printf '#include <faiss/Index.h>\nFAISS_VERSION_MAJOR FAISS_VERSION_MINOR\n' | c++ -E -P -x c++ - 2> /dev/null | tail -n 1)
  version=${header// /.}
  [ "${version%%.*}" -gt 1 ] 2> /dev/null || [ "${version#*.}" -ge 11 ] 2> /dev/null
}

# Are all files that the build reads the published ones? Prints the first that is not.
faiss_tree_is_published() { (cd "$1" && grep -v '^#' "$faiss_manifest" | sha256sum -c --quiet - 2>&1 | head -n 1 | grep . && exit 1 || exit 0); }

# Move a checked tree into place: everything after this only ever sees a whole one.
faiss_accept_tree() {
  rm -rf "$faiss_source.new"
  cp -R "$1" "$faiss_source.new" && rm -rf "$faiss_source" && mv "$faiss_source.new" "$faiss_source"
}

# ---- where the source may come from: each returns 0 with the tree in $faiss_source, or 1 with a line in $reasons ----
reasons=()

source_by_hand() {
  local wrong
  [ -d "$faiss_source" ] || return 1
  [ ! -e "$faiss_source/.checked" ] || return 0
  if wrong=$(faiss_tree_is_published "$faiss_source"); then touch "$faiss_source/.checked"; return 0; fi
  reasons+=("$faiss_source: not FAISS $faiss_version as published: $wrong")
  return 1
}

# The crate faiss-sys carries the whole source. Cargo writes the lock file with the checksum that it held the download
# against; that must be the one we know.
crate_project() {
  mkdir -p "$1/src"
  : > "$1/src/lib.rs"
  printf '[package]\nname = "fetch"\nversion = "0.1.0"\nedition = "2018"\n[dependencies]\nfaiss-sys = "=0.7.0"\n' > "$1/Cargo.toml"
}

source_from_crate() {
  local project=$cache/downloads/faiss-crate tree wrong
  command -v cargo > /dev/null 2>&1 || { reasons+=("crate faiss-sys 0.7.0: no cargo here"); return 1; }
  crate_project "$project"
  logged "FAISS source: crate faiss-sys 0.7.0" cargo cargo fetch --manifest-path "$project/Cargo.toml" ||
    { reasons+=("crate faiss-sys 0.7.0: cargo could not fetch it, see $cache/logs/cargo.log"); return 1; }
  grep -qF "checksum = \"$crate_checksum\"" "$project/Cargo.lock" ||
    { reasons+=("crate faiss-sys 0.7.0: its checksum is not $crate_checksum"); return 1; }
  tree=$(cargo metadata --locked --offline --format-version 1 --manifest-path "$project/Cargo.toml" 2>> "$cache/logs/cargo.log" |
    grep -o '"manifest_path":"[^"]*/faiss-sys-0.7.0/Cargo.toml"' | head -n 1 | cut -d '"' -f 4)
  tree=${tree%/Cargo.toml}/faiss
  if wrong=$(faiss_tree_is_published "$tree"); then faiss_accept_tree "$tree" && touch "$faiss_source/.checked"; return; fi
  reasons+=("crate faiss-sys 0.7.0: not the published source: $wrong")
  return 1
}

fetch_archive() { # with what a bare system has: curl, else wget, else the C library's own tools are not enough
  if command -v curl > /dev/null 2>&1; then curl -fL --retry 2 --connect-timeout 20 -o "$2" "$1"
  elif command -v wget > /dev/null 2>&1; then wget -T 30 -t 2 -O "$2" "$1"
  else echo "neither curl nor wget is here"; return 1
  fi
}

# The archive is good when it is the release's own file, byte for byte, or when every file in it is.
source_from_archive() {
  local archive=$cache/downloads/faiss-$faiss_version.tar.gz unpacked=$cache/downloads/faiss-unpacked tree known wrong
  mkdir -p "$cache/downloads"
  if [ ! -s "$archive" ]; then
    case $faiss_url in file://*) ;; *)
      command -v curl > /dev/null 2>&1 || command -v wget > /dev/null 2>&1 ||
        { say "Needed for a download:"; install_packages "curl|fetches the FAISS release archive" "ca-certificates|checks whom it talks to"; } ;;
    esac
    case $faiss_url in
      file://*) cp "${faiss_url#file://}" "$archive.part" 2> "$cache/logs/faiss-download.log" ;;
      *) logged "FAISS source: release archive" faiss-download fetch_archive "$faiss_url" "$archive.part" ;;
    esac || { rm -f "$archive.part"; reasons+=("release archive: $faiss_url could not be read, see $cache/logs/faiss-download.log"); return 1; }
    mv "$archive.part" "$archive"
  fi
  rm -rf "$unpacked" && mkdir -p "$unpacked"
  if ! tar -xzf "$archive" -C "$unpacked" 2> "$cache/logs/faiss-unpack.log"; then
    rm -f "$archive"
    reasons+=("release archive: $faiss_url is not a tar.gz archive"); return 1
  fi
  tree=$(find "$unpacked" -maxdepth 2 -name c_api -type d | head -n 1)
  known=$(sed -n 's/^# archive \([0-9a-f]*\) .*/\1/p' "$faiss_manifest")
  if ! echo "$known  $archive" | sha256sum -c --quiet - > /dev/null 2>&1 && ! wrong=$(faiss_tree_is_published "${tree%/c_api}"); then
    rm -f "$archive"
    reasons+=("release archive: $faiss_url is not FAISS $faiss_version as published: $wrong"); return 1
  fi
  faiss_accept_tree "${tree%/c_api}" && touch "$faiss_source/.checked" && rm -rf "$unpacked"
}

# Last: a cargo from apt that is new enough (1.68 speaks today's registry), then the crate again.
source_from_crate_by_apt() {
  local package version
  [ -z "$(apt_obstacle)" ] && ! command -v cargo > /dev/null 2>&1 || return 1
  for package in cargo cargo-web; do
    version=$(apt-cache policy "$package" 2> /dev/null | sed -n 's/^ *Candidate: //p')
    dpkg --compare-versions "${version:-0}" ge 1.68 2> /dev/null || continue
    say "The release archive is out of reach; the crate that carries the same source needs cargo:"
    (install_packages "$package|fetches the FAISS source (about 500 MB installed; may be removed afterwards)") || return 1
    source_from_crate && return 0 || return 1
  done
  reasons+=("cargo through apt: this system's is too old")
  return 1
}

faiss_get_source() {
  source_by_hand || source_from_crate || source_from_archive || source_from_crate_by_apt ||
    fail "the source of FAISS $faiss_version could not be had:" "${reasons[@]}" \
      "To go on by hand, do one of these, then run scripts/setup again:" \
      " - unpack FAISS $faiss_version (the project's release v$faiss_version) so that $faiss_source/CMakeLists.txt exists" \
      " - put the release archive v$faiss_version.tar.gz at $cache/downloads/faiss-$faiss_version.tar.gz" \
      " - MNEME_FAISS_URL=<address or file:///path of that archive> scripts/setup"
}

# ---- building -----------------------------------------------------------------------------------------------------

faiss_compile() { # level folder
  local options=(-DFAISS_ENABLE_GPU=OFF -DFAISS_ENABLE_PYTHON=OFF -DFAISS_ENABLE_C_API=ON -DFAISS_ENABLE_EXTRAS=OFF
    -DBUILD_TESTING=OFF -DBUILD_SHARED_LIBS=OFF -DCMAKE_BUILD_TYPE=Release -DCMAKE_POSITION_INDEPENDENT_CODE=ON
    -DBLA_VENDOR=OpenBLAS "-DFAISS_OPT_LEVEL=$1")
  cmake -S "$faiss_source" -B "$2" -G Ninja "${options[@]}" &&
    ninja -C "$2" -j "$(jobs_that_fit)" "faiss_$1" "faiss_c_$1"
}

faiss_place() { # level build-folder target
  rm -rf "$3.new" && mkdir -p "$3.new/include/faiss" "$3.new/lib" &&
    (cd "$faiss_source" && find c_api -name '*.h' | tar -cf - -T -) | tar -xf - -C "$3.new/include/faiss" &&
    cp "$2/faiss/libfaiss_$1.a" "$2/c_api/libfaiss_c_$1.a" "$3.new/lib/" &&
    rm -rf "$3" && mv "$3.new" "$3"
}

ensure_faiss() {
  local level target work
  if system_faiss; then say "FAISS: the system's libfaiss_c"; return; fi
  level=$(faiss_level) || exit 1
  target=$cache/faiss-$faiss_version-$level
  work=$target.build
  [ ! -s "$target/lib/libfaiss_c_$level.a" ] || return 0
  say "FAISS $faiss_version for $level: built once, a few minutes"
  faiss_get_source
  logged "FAISS build" "faiss-$level" faiss_compile "$level" "$work" ||
    fail "FAISS could not be built: the whole output is in $cache/logs/faiss-$level.log; scripts/setup goes on where it stopped"
  faiss_place "$level" "$work" "$target" || fail "FAISS could not be put into $target: is the disk full?"
  rm -rf "$work"
}
