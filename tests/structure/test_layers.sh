#!/usr/bin/env bash
# layers_follow_the_picture: reads every #include and fails where docs/architecture.md's picture of the layers is broken.
set -eu
cd "$MNEME_SOURCE_DIR"
failures=0
complain() { printf '%s\n' "$*"; failures=$((failures + 1)); }

# folder: the folders that it may include
allowed() {
  case $1 in
    common) echo "common" ;;
    encoder) echo "common encoder" ;;
    memstore) echo "common memstore" ;;
    retriever) echo "common encoder memstore retriever" ;;
    memory) echo "common encoder memstore retriever memory" ;;
    cli) echo "cli" ;;
    server) echo "server" ;;
    lm) echo "lm" ;;
  esac
}

check_tree() { # check_tree ROOT: prints what is wrong
  local root=$1 folder file target
  for folder in common encoder memstore retriever memory cli server lm; do
    [ -d "$root/$folder" ] || continue
    while IFS=: read -r file target; do
      target=${target#*\"}; target=${target%%\"*}
      case $target in
        mneme.h | mneme/*) continue ;;
        */*) ;;
        *) echo "$file includes \"$target\" without its folder"; continue ;;
      esac
      case " $(allowed "$folder") " in
        *" ${target%%/*} "*) ;;
        *) echo "$file includes $target: $folder may not use ${target%%/*}" ;;
      esac
    done < <(grep -rHoE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"[^"]+"' "$root/$folder" --include='*.[ch]' | sed "s|^$root/||")
  done
  grep -rlE '#[[:space:]]*include[[:space:]]*[<"]lmdb\.h' "$root"/{common,encoder,retriever,memory,cli} --include='*.[ch]' 2> /dev/null |
    sed 's|$| includes lmdb.h: only memstore/ may|'
  local n
  n=$(grep -rlE '#[[:space:]]*include[[:space:]]*[<"]faiss/' "$root"/{common,encoder,memstore,retriever,memory,cli} --include='*.[ch]' 2> /dev/null | wc -l)
  [ "$n" -le 1 ] || echo "$n files include FAISS: only one may"
}

found=$(check_tree "$MNEME_SOURCE_DIR")
[ -z "$found" ] || complain "$found"

# The check can fail: a tree with each kind of break in it.
broken=$(mktemp -d)
trap 'rm -rf "$broken"' EXIT
mkdir "$broken"/{common,encoder,memstore,cli,retriever,memory}
echo '#include "encoder/encoder.h"' > "$broken/memstore/a.c"
echo '#include "memory/memory.h"' > "$broken/cli/b.c"
echo '#include <lmdb.h>' > "$broken/retriever/c.c"
[ "$(check_tree "$broken" | wc -l)" -eq 3 ] || complain "the layer check does not see broken layers"

# File names are unique, so that a name is enough to find a file.
repeated=$(git ls-files '*.c' '*.h' 2> /dev/null | sed 's|.*/||' | sort | uniq -d)
[ -z "$repeated" ] || complain "file names that come twice: $repeated"

# Only mneme_... leaves the shared library.
foreign=$(nm -D --defined-only "$MNEME_BUILD_DIR/libmneme.so" | awk '$2 ~ /[TDBRVWi]/ {print $3}' | grep -v '^mneme_' || true)
[ -z "$foreign" ] || complain "libmneme.so exports $(printf '%s\n' "$foreign" | head -n 5 | tr '\n' ' ')"

# The public library neither prints nor ends the process.
speaking=$(grep -nE '\b(printf|puts|fputs|exit|abort|perror)[[:space:]]*\(' common/*.c encoder/*.c encoder/train/*.c memstore/*.c retriever/*.c memory/*.c |
  grep -vE 'v?snprintf|^[^:]*:[0-9]+: *[/ ]?\*' || true)
[ -z "$speaking" ] || complain "the library speaks or exits: $speaking"

[ "$failures" -eq 0 ]
