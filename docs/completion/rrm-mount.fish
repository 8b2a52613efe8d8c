# Completion of rrm-mount for fish, from its --help.

function __rrm_mount_options
    rrm-mount --help 2>/dev/null | sed -n 's/^ *\(-.*\)/\1/p' | sed 's/   .*//' | grep -oE -- '--?[a-z-]+'
end

complete -c rrm-mount -f -a '(string match -q -- "-*" (commandline -ct); and __rrm_mount_options; or __fish_complete_directories (commandline -ct))'
