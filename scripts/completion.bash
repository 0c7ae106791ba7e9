# Tab completes keys, values from a closed list, and recipes (bash 4 or newer):  source scripts/completion.bash
declare -A _scenescribe_keys

_scenescribe() {
    local typed=${COMP_LINE:0:COMP_POINT} word script= offered
    typed=${typed##* }
    for word in $COMP_LINE; do
        case $word in scripts/*.py | */scripts/*.py | train/sft.py | */train/sft.py) script=$word ;; esac
    done
    [[ -f $script && $typed != "$script" ]] || return 0 # no command of ours: files, as ever
    local root=${script%/*}/..
    if [[ $typed == recipe=* ]]; then
        offered=$(cd "$root/recipes" && printf 'recipe=%s\n' *.yaml | sed 's/\.yaml$//')
    else # asked once for each command, as it takes a third of a second
        local python=$root/.venv/bin/python
        [[ -x $python ]] || python=python3
        : "${_scenescribe_keys[$script]:=$("$python" "$script" --help keys 2>/dev/null)}"
        offered=$'recipe=\n'${_scenescribe_keys[$script]}
    fi
    mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$typed")
    if [[ $typed == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#*=}") # bash breaks words at =
    else # values are offered once their key is typed
        mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | sed 's/=.*/=/' | sort -u)
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _scenescribe python python3 accelerate
