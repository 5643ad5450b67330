# Completion of quiesce, inv and ./inv for bash.
#
#     source <(quiesce completion)
#
# Tasks and flags come from the command itself and include your own tasks. Values of flags (instances,
# databases, volumes, sets) come from stack.yaml and backups/. Completion does not need the engine.

_quiesce_complete() {
    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]}
    local before=() word list=""
    COMPREPLY=()
    # bash makes three words of --flag=value.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == = ]] || before+=("$word")
    done
    [[ $current != = ]] || current=""
    local flag=""
    ((${#before[@]} == 0)) || flag=${before[${#before[@]} - 1]}
    if [[ $flag == --?* && $current != -* ]]; then
        list=$("$program" completion --values "$flag" --words "${before[*]}" 2>/dev/null)
        if [[ $list == "(value)"* ]]; then
            list=${list#"(value)"}
            # The last one of a list with commas.
            local first=""
            [[ $current != *,* ]] || first=${current%,*},
            mapfile -t COMPREPLY < <(compgen -W "$list" -P "$first" -- "${current#"$first"}")
            [[ ! $list ]] || compopt -o nospace 2>/dev/null
            return
        fi
    fi
    list=$("$program" --complete -- "${program##*/}" "${before[@]}" "$current" 2>/dev/null)
    mapfile -t COMPREPLY < <(compgen -W "$list" -- "$current")
}

# Without a candidate, bash offers files.
complete -o default -F _quiesce_complete quiesce inv
