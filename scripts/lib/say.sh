# say.sh -- what scripts/setup says, and how it runs a long step: short lines here, the full text in a log file.
# Sourced; needs $cache.

say() { printf '%s\n' "$*"; }

# One line on stderr, then the lines that follow it, then exit 1.
fail() {
  printf 'setup: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

# Jobs for a build: one a processor, but no more than the memory holds (a FAISS source takes up to 1.5 GB to compile).
jobs_that_fit() {
  local processors memory_kb fit
  processors=$(nproc 2>/dev/null || echo 1)
  memory_kb=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo 2>/dev/null)
  fit=$(( ${memory_kb:-2000000} / 1500000 ))
  [ "$fit" -ge 1 ] || fit=1
  [ "$fit" -lt "$processors" ] && echo "$fit" || echo "$processors"
}

# The last "[12/187]" that ninja wrote to a log.
ninja_count() { tr '\r' '\n' < "$1" | sed -n 's/^\(\[[0-9]*\/[0-9]*\]\).*/\1/p' | tail -n 1; }

# logged LABEL LOGNAME COMMAND...: run it with its output in $cache/logs/LOGNAME.log; on a terminal the line counts along.
# Returns the command's status and shows the end of the log when it failed.
logged() {
  local label=$1 log="$cache/logs/$2.log" status=0 started=$SECONDS child
  shift 2
  mkdir -p "$cache/logs"
  if [ -t 1 ]; then
    "$@" > "$log" 2>&1 < /dev/null &
    child=$!
    while kill -0 "$child" 2> /dev/null; do
      printf '\r\033[K%s %s %ds' "$label" "$(ninja_count "$log")" $((SECONDS - started))
      sleep 0.5
    done
    wait "$child" || status=$?
    printf '\r\033[K'
  else
    say "$label ..."
    "$@" > "$log" 2>&1 < /dev/null || status=$?
  fi
  if [ "$status" -eq 0 ]; then
    say "$label: done in $((SECONDS - started)) s"
  else
    say "$label: failed after $((SECONDS - started)) s; the end of $log:"
    tail -n 15 "$log" | sed 's/^/    /'
  fi
  return "$status"
}
