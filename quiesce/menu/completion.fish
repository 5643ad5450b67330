# Completion of quiesce, inv and ./inv for fish.
#
#     quiesce completion --shell fish | source
#
# Tasks and flags come from the command itself and include your own tasks. Values of flags (instances,
# databases, volumes, sets) come from stack.yaml and backups/. Completion does not need the engine.

function __quiesce_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -l before $words[2..-1]
    set -l flag ""
    set -l prefix ""
    if string match -q -- '--?*=*' $current
        set flag (string replace -r '=.*' '' -- $current)
        set prefix "$flag="
        set current (string replace -r '^[^=]*=' '' -- $current)
    else if set -q before[1]; and string match -q -- '--?*' $before[-1]; and not string match -q -- '-*' $current
        set flag $before[-1]
    end
    if test -n "$flag"
        set -l list ($program completion --values $flag --words "$before" 2>/dev/null)
        if string match -q -- '(value)*' "$list"
            # The last one of a list with commas.
            if string match -q '*,*' -- $current
                set prefix $prefix(string replace -r '[^,]*$' '' -- $current)
            end
            set -l values (string split -n ' ' -- (string replace '(value)' '' -- "$list"))
            if set -q values[1]
                printf '%s\n' $prefix$values
            else
                __fish_complete_path $current
            end
            return
        end
    end
    set -l list ($program --complete -- (basename $program) $before $current 2>/dev/null)
    if set -q list[1]
        printf '%s\n' $list
    else
        __fish_complete_path $current
    end
end

# fish looks ./inv up as inv.
complete -c quiesce -f -a '(__quiesce_complete)'
complete -c inv -f -a '(__quiesce_complete)'
