# Completion of quiesce, inv and ./inv for zsh.
#
#     source <(quiesce completion --shell zsh)
#
# Tasks and flags come from the command itself and include your own tasks. Values of flags (instances,
# databases, volumes, sets) come from stack.yaml and backups/. Completion does not need the engine.

_quiesce_complete() {
    local program=$words[1] current=${words[CURRENT]} flag="" list=""
    local -a before candidates
    before=(${words[2,CURRENT-1]})
    if [[ $current == --?*=* ]]; then
        flag=${current%%=*} current=${current#*=}
        compset -P '--*='
    elif (( $#before )) && [[ $before[-1] == --?* && $current != -* ]]; then
        flag=$before[-1]
    fi
    if [[ -n $flag ]]; then
        list=$("$program" completion --values "$flag" --words "$before" 2>/dev/null)
        if [[ $list == "(value)"* ]]; then
            candidates=(${=list#"(value)"})
            # The last one of a list with commas.
            compset -P '*,'
            if (( $#candidates )); then compadd -S '' -- $candidates; else _default; fi
            return
        fi
    fi
    list=$("$program" --complete -- "${program:t}" $before "$current" 2>/dev/null)
    candidates=(${(f)list})
    # Without a candidate, zsh offers files.
    (( $#candidates )) && compadd -- $candidates || _default
}

(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
# zsh looks ./inv up as inv.
compdef _quiesce_complete quiesce inv
