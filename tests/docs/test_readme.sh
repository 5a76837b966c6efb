#!/usr/bin/env bash
# readme_commands_work: runs README.md's sh blocks in order in one scratch folder, builds and runs its c blocks against
# the library, and looks for what it links to.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
readme=$MNEME_SOURCE_DIR/README.md

blocks() { # blocks LANGUAGE: what stands in its fences
  awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } /^```/ { on = 0 } on' "$readme"
}

mkdir "$work/here" "$work/data"
cp -R "$MNEME_SOURCE_DIR/examples" "$work/here/"
blocks sh > "$work/commands"
[ "$(grep -c . "$work/commands")" -ge 8 ] || { echo "README.md has hardly any commands"; exit 1; }
cd "$work/here"
export XDG_DATA_HOME=$work/data
set -x
while read -r line; do eval "$line" > "$work/out" || { echo "failed: $line"; cat "$work/out"; exit 1; }; cat "$work/out" >> "$work/all"; done < "$work/commands"
set +x
for expected in 'flower pot' 'straw' 'Bruno' 'forgot 1 record'; do
  grep -q "$expected" "$work/all" || { echo "README.md's commands do not show \"$expected\""; cat "$work/all"; exit 1; }
done

blocks c > "$work/program.c"
cmp "$work/program.c" "$MNEME_SOURCE_DIR/tests/install/ten_lines.c" || { echo "README.md's program is not tests/install/ten_lines.c, which is run"; exit 1; }

# Every file that README and the pages in docs/ link to is there.
cd "$MNEME_SOURCE_DIR"
failures=0
for page in README.md CHANGELOG.md docs/*.md examples/README.md; do
  while read -r target; do
    case $target in http* | '#'*) continue ;; esac
    [ -e "$(dirname "$page")/${target%%#*}" ] || { echo "$page links to $target, which is not there"; failures=1; }
  done < <(grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//')
done
[ "$failures" -eq 0 ]
