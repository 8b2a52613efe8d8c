# Completion of rrm and rrm-mount for fish. What can follow is asked of the programs themselves, so there is no
# list here that could differ from them.

function __rrm_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l current $words[-1]
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path $current
            case :dirs
                __fish_complete_directories $current
            case ':command *'
                set -l at (math (string replace ':command ' '' -- $line) + 2)
                __fish_complete_subcommand --commandline $words[$at..-1]
            case '*'
                echo $line
        end
    end
end

complete -c rrm -f -a '(__rrm_complete)'
