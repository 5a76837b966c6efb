# mneme.bash -- completion of the mneme command for bash: `source scripts/completion/mneme.bash`.
#
# Commands, options and their choices come from `mneme --help` and `mneme COMMAND --help`, so that this file never lags
# behind; names of settings and namespaces come from the store in use.

# Options of a help text on stdin, one a line.
_mneme_options() {
    sed -n 's/^  \(-.,\|   \) \(--[a-z-]*\).*/\2/p'
}

# The choices of option $1 (a|b|c) in a help text on stdin.
_mneme_choices() {
    sed -n "s/^  .*$1 \([a-z0-9/]*|[a-z0-9/|]*\).*/\1/p" | tr '|' ' '
}

_mneme() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]}
    local command='' i choices help verb
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --store | --config | --set) ((i++)) ;;
        -*) ;;
        *)
            command=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    case $before in
    --store) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
    --out) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
    --config | --output | -o | --source) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    --set | --sweep)
        mapfile -t COMPREPLY < <(compgen -S = -W "$("$program" config --quiet 2>/dev/null | awk '{print $1}')" -- "$word")
        compopt -o nospace
        return
        ;;
    --namespace | -n)
        mapfile -t COMPREPLY < <(compgen -W "$("$program" stats 2>/dev/null | sed '1,/^namespace /d' | awk '{print $1}')" -- "$word")
        return
        ;;
    esac
    if [ -z "$command" ]; then
        help=$("$program" --help 2>/dev/null)
        if [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(_mneme_options <<<"$help")" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -W "$(sed -n '/^Commands/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$help")" -- "$word")
        fi
        return
    fi
    verb=() # some verbs have options of their own
    case "$command ${COMP_WORDS[i + 1]:-}" in "train lm" | "train sample" | "train encoder" | "model distill") verb=("${COMP_WORDS[i + 1]}") ;; esac
    help=$("$program" "$command" "${verb[@]}" --help 2>/dev/null)
    choices=$([[ $before == --* ]] && _mneme_choices "$before" <<<"$help")
    if [ -n "$choices" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_mneme_options <<<"$help")" -- "$word")
    else
        case $command in
        backup) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
        model)
            [ "$before" = model ] && mapfile -t COMPREPLY < <(compgen -W "list info add pull pack distill quantize prune" -- "$word") && return
            [ "$before" = info ] && mapfile -t COMPREPLY < <(compgen -W "$("$program" model list 2>/dev/null | sed 's/^[* ] \([^ ]*\) .*/\1/')" -- "$word") && return
            ;;
        train)
            [ "$before" = train ] && mapfile -t COMPREPLY < <(compgen -W "encoder lm sample" -- "$word") && return
            [ "$before" = sample ] && mapfile -t COMPREPLY < <(compgen -d -- "$word") && return
            ;;
        config) mapfile -t COMPREPLY < <(compgen -W "$("$program" config --quiet 2>/dev/null | awk '{print $1}')" -- "$word") && return ;;
        esac
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -o filenames -F _mneme mneme
