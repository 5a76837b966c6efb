# hub_support.sh -- sourced after support.sh by the tests of `mneme model pull`: a hub on this machine
# (tests/cli/hub_server/hub_server.c says what it serves and which rules it takes).
#
#   hub_start                      sets $hub, $cdn, HF_ENDPOINT; $root is the hub's folder
#   hub_publish ORG/NAME FOLDER    puts a model there; its digests come from sha256sum and git
#   hub_rule RULE WHERE VALUE [N] adds a rule; hub_rules_end takes all away and empties the log
#   asked TEXT / not_asked TEXT    the hub was (was not) asked something with TEXT; n_asked TEXT prints how often

export NO_PROXY='*' no_proxy='*'
unset HF_TOKEN HF_ENDPOINT || true
root=$work/hub
models=$XDG_DATA_HOME/mneme/models
commit=0123456789abcdef0123456789abcdef01234567
server_pid=

hub_start() {
    mkdir -p "$root/models"
    "$MNEME_BUILD_DIR/tests/cli/hub_server" "$root" &
    server_pid=$!
    trap 'kill "$server_pid" 2>/dev/null || true; wait "$server_pid" 2>/dev/null || true; rm -rf "$work"' EXIT
    for _ in $(seq 100); do
        [ -e "$root/address" ] && break
        kill -0 "$server_pid" 2>/dev/null || { echo "skipped: the test's server cannot listen here"; exit 77; }
        sleep 0.1
    done
    hub=$(sed -n 1p "$root/address") cdn=$(sed -n 2p "$root/address")
    export HF_ENDPOINT=$hub
}

# One entry of a listing; files of *.safetensors are in LFS.
hub_entry() { # FOLDER FILE
    local size
    size=$(stat -c %s "$1/$2")
    case $2 in
    *.safetensors)
        printf '{"rfilename":"%s","size":%d,"blobId":"%040d","lfs":{"sha256":"%s","size":%d,"pointerSize":134}}' "$2" \
            "$size" 1 "$(sha256sum <"$1/$2" | cut -d ' ' -f 1)" "$size"
        ;;
    *) printf '{"rfilename":"%s","size":%d,"blobId":"%s"}' "$2" "$size" "$(git hash-object --no-filters "$1/$2")" ;;
    esac
}

hub_listing() { # FOLDER [EXTRA ENTRY...]: the JSON for all files of the folder, extra entries first
    local folder=$1 file comma=''
    shift
    printf '{"id":"x","sha":"%s","siblings":[' "$commit"
    for file in "$@"; do printf '%s%s' "$comma" "$file"; comma=,; done
    while read -r file; do printf '%s' "$comma"; hub_entry "$folder" "$file"; comma=,; done < <(cd "$folder" && find . -type f | sed 's|^\./||' | sort)
    printf ']}\n'
}

hub_publish() { # ORG/NAME FOLDER
    mkdir -p "$root/models/$1"
    rm -rf "$root/models/$1/files"
    cp -RL "$2" "$root/models/$1/files"
    hub_listing "$2" >"$root/models/$1/listing.main.json"
}

hub_rule() { echo "$*" >>"$root/control"; }
hub_rules_end() { rm -f "$root/control" "$root/log"; }
asked() { grep -qF -- "$1" "$root/log" || fail "the hub was not asked: $1"; }
not_asked() { ! grep -qF -- "$1" "$root/log" 2>/dev/null || fail "the hub was asked: $1"; }
n_asked() { grep -cF -- "$1" "$root/log" || true; }

same_model() { # A B: the files that mneme reads are the same
    local file
    for file in config.json vocab.txt model.safetensors; do cmp "$1/$file" "$2/$file" || fail "$2/$file differs"; done
}
nothing_in_place() { [ ! -e "$models/$1" ] || fail "$models/$1 is there"; }
nothing_left() { # no staging folder, no stray file beside the models
    [ -z "$(find "$models" -mindepth 1 -maxdepth 1 -name '.*' -o -name '*.part*' 2>/dev/null)" ] || fail "something is left in $models"
}
