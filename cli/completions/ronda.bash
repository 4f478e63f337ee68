# bash completion for ronda
# shellcheck shell=bash

# Names come from other hosts: only plain ones are offered, and none is ever expanded.
_ronda_names() {
    ronda --json ls 2>/dev/null | grep -o '"name": "[A-Za-z0-9._+-]*"' | cut -d '"' -f 4
}

_ronda_offer() { # WORD... : those that begin with $cur
    local word
    for word in "$@"; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

_ronda() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' word i
    local commands=(share ls get status peers watch unshare verify torrent version help)
    local names
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        --socket | --name | -n | --output-dir | -o) ((i++)) ;;
        -*) ;;
        *) command=${command:-$word} ;;
        esac
    done
    case $prev in
    --socket) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    -o | --output-dir) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    -n | --name) return ;;
    esac
    if [[ $cur == -* ]]; then
        _ronda_offer --json --socket --help --version
        [[ $command == share ]] && _ronda_offer --name
        [[ $command == get ]] && _ronda_offer -o --output-dir
        return
    fi
    case $command in
    '' | help) _ronda_offer "${commands[@]}" ;;
    share)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        ;;
    get | unshare | verify | torrent)
        mapfile -t names < <(_ronda_names)
        _ronda_offer "${names[@]}"
        ;;
    esac
}

complete -F _ronda ronda
