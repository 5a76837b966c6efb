#!/usr/bin/env bash
# headers_compile_alone: every header as C11, the public one as C++17 too.
set -eu
cd "$MNEME_SOURCE_DIR"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
for header in include/mneme.h common/*.h encoder/*.h encoder/train/*.h memstore/*.h retriever/*.h memory/*.h cli/*.h; do
  case $header in *_simd.h) continue ;; esac # templates: the files for each set of instructions set their names
  printf '#include "%s"\n' "${header#include/}" > "$work/one.c"
  cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-const-variable -Werror -I. -Iinclude $(pkg-config --cflags jansson libxml-2.0) \
    -fsyntax-only "$work/one.c" || { echo "$header does not compile alone as C11"; failures=$((failures + 1)); }
done
printf '#include "mneme.h"\nint main() { return mneme_abi() == MNEME_ABI ? 0 : 1; }\n' > "$work/one.cpp"
c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only "$work/one.cpp" || failures=$((failures + 1))
[ "$failures" -eq 0 ]
