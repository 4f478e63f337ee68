# fish completion for ronda

# Names come from other hosts: only plain ones are offered.
function __ronda_names
    ronda --json ls 2>/dev/null | grep -o '"name": "[A-Za-z0-9._+-]*"' | cut -d '"' -f 4
end

set -l commands share ls get status peers watch unshare verify torrent version help

complete -c ronda -f
complete -c ronda -l socket -r -F -d 'socket of the daemon'
complete -c ronda -l json -d 'JSON on stdout'
complete -c ronda -s h -l help -d 'show help'
complete -c ronda -s V -l version -d 'show the version'

complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a share -d 'share files or folders with this network'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a ls -d 'list what the network holds'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a get -d 'fetch a share'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a status -d 'show shares and transfers of this host'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a peers -d 'show the neighbours'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a watch -d 'show shares and transfers live'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a unshare -d 'stop sharing; the files stay'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a verify -d 'check every byte of a share again'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a torrent -d 'write a .torrent of a share'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a version -d 'show the version'
complete -c ronda -n "not __fish_seen_subcommand_from $commands" -a help -d 'tell about a command'

complete -c ronda -n "__fish_seen_subcommand_from share" -F
complete -c ronda -n "__fish_seen_subcommand_from share" -s n -l name -x -d 'what the others see'
complete -c ronda -n "__fish_seen_subcommand_from get" -s o -l output-dir -x -a '(__fish_complete_directories)' -d 'where to put it'
complete -c ronda -n "__fish_seen_subcommand_from get unshare verify torrent" -a '(__ronda_names)'
complete -c ronda -n "__fish_seen_subcommand_from help" -a "$commands"
