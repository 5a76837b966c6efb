#!/usr/bin/env bash
# install_serves_programs: cmake --install into an empty prefix, then a ten-line program against it, three ways.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
cmake --install "$MNEME_BUILD_DIR" --prefix "$prefix" > "$work/install.log"
libdir=$(dirname "$(find "$prefix" -name libmneme.so | head -n 1)")
for file in bin/mneme include/mneme.h share/bash-completion/completions/mneme; do
  [ -e "$prefix/$file" ] || { echo "not installed: $file"; exit 1; }
done
export PKG_CONFIG_PATH=$libdir/pkgconfig
program=$MNEME_SOURCE_DIR/tests/install/ten_lines.c
expected='The spare key is under the third flower pot.'
try() { # try LABEL COMMAND...
  local label=$1 got
  shift
  rm -rf "$work/store"
  got=$("$@" "$work/store")
  [ "$got" = "$expected" ] || { echo "$label: \"$got\""; exit 1; }
  echo "$label: ok"
}

cc -std=c11 "$program" $(pkg-config --cflags --libs mneme) -o "$work/shared"
try "pkg-config, shared" env LD_LIBRARY_PATH="$libdir" "$work/shared"
ldd "$work/shared" | grep -q 'libmneme.so' && ! env LD_LIBRARY_PATH= ldd "$work/shared" | grep -q "$libdir"

cc -std=c11 "$program" $(pkg-config --cflags mneme) "$libdir/libmneme.a" \
  $(pkg-config --static --libs mneme | tr ' ' '\n' | grep -v '^-lmneme$' | tr '\n' ' ') -o "$work/static"
try "pkg-config, static" "$work/static"

mkdir "$work/project"
cp "$program" "$work/project/"
cat > "$work/project/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.25)
project(ten_lines LANGUAGES C CXX)
find_package(mneme 0.1 REQUIRED)
add_executable(with_shared ten_lines.c)
target_link_libraries(with_shared PRIVATE mneme::mneme)
add_executable(with_static ten_lines.c)
target_link_libraries(with_static PRIVATE mneme::mneme_static)
EOF
cmake -G Ninja -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$prefix" > "$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/project/build" > "$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
try "CMake, shared" "$work/project/build/with_shared"
try "CMake, static" "$work/project/build/with_static"

[ "$("$prefix/bin/mneme" --version | head -n 1)" = "mneme 0.1.0" ] || { echo "mneme --version says $("$prefix/bin/mneme" --version)"; exit 1; }
