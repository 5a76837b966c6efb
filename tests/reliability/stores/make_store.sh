#!/usr/bin/env bash
# Makes format-N.tar.gz: a store as the `mneme` in PATH writes it, for test_formats.c. Run once for each format, by the
# last version that writes it; the file is then kept for ever.
#
#   tests/reliability/stores/make_store.sh tests/reliability/stores/format-1.tar.gz
#
# In it: store/ (data.mdb, lock.mdb) and records.jsonl, the records that the store holds, in the order of adding. Own
# vectors only, so that no model is needed. The record "forgotten" was added and removed again.
set -euo pipefail
out=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
records() { # VERSION: of the record "replaced"
  awk -v version="$1" '
    function vector(n, dimension,   i, text) { # directions that differ: one large element, the others by number
      for (i = 0; i < dimension; i++) text = text (i ? "," : "") (i == n % dimension ? 4 : ((n * (i + 3) * 7919) % 200 - 100) / 100)
      return "[" text "]"
    }
    BEGIN {
      for (n = 0; n < 40; n++)
        printf "{\"id\":\"turn %d\",\"text\":\"Turn %d of talk %d: the lighthouse keeper counted %d ships. Snow fell on the second pier.\"," \
               "\"title\":\"Talk %d\",\"session\":\"talk-%d\",\"speaker\":\"%s\",\"time\":\"20%02d-03-0%dT10:%02d:00Z\"," \
               "\"metadata\":{\"place\":\"pier %d\",\"n\":%d,\"calm\":%s},\"vector\":%s}\n",
               n, n, n % 4, n * n, n % 4, n % 4, n % 2 ? "Ana" : "Bent", 10 + n % 9, 1 + n % 9, n, n % 3, n,
               n % 2 ? "true" : "false", vector(n, 8)
      for (n = 0; n < 12; n++) printf "{\"id\":\"picture %d\",\"namespace\":\"pictures\",\"vector\":%s}\n", n, vector(n * 5 + 1, 3)
      printf "{\"id\":\"gr\\u00fc\\u00dfe \\u732b\",\"namespace\":\"na\\u00efve:2\",\"text\":\"\\u00c4pfel und \\u732b.\",\"vector\":[1,2]}\n"
      printf "{\"id\":\"replaced\",\"text\":\"Version %s of a text that was replaced.\",\"session\":\"talk-1\",\"vector\":%s}\n",
             version, vector(50 + version, 8)
      printf "{\"id\":\"long\",\"text\":\""
      for (n = 0; n < 1500; n++) printf "Line %d holds a word or two, and a newline.\\n", n
      printf "\",\"vector\":%s}\n", vector(97, 8)
    }'
}
records 1 > first.jsonl
echo '{"id":"forgotten","text":"A secret: xyzzy.","session":"talk-2","vector":[9,1,1,1,1,1,1,2]}' >> first.jsonl
records 2 > records.jsonl
mneme --store store --quiet index first.jsonl
mneme --store store --quiet index records.jsonl
mneme --store store --quiet forget forgotten
mneme --store store check
rm -f store/lock.mdb
tar --owner=0 --group=0 --mtime=2026-01-01 --sort=name -czf "$out" store records.jsonl
ls -l "$out"
