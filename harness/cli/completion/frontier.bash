# bash: completes frontier's commands, options and names. Commands, options, methods, models and tasks are asked of the program.
_frontier()
{
    local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} words=
    if [ "$COMP_CWORD" = 1 ]; then
        words=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
    elif [[ $2 == -* ]]; then
        words=$("$program" "$command" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u)
    else
        case $3 in
        --method | -m) words=$("$program" list methods | sed -n 's/^\([a-z_0-9]*\) .*/\1/p') ;;
        --task) words=$("$program" list tasks | sed -n 's/^\([a-z_0-9]*\) .*/\1/p') ;;
        --device | -d) words="cpu cuda cuda:all reference" ;;
        *)
            case $command in
            calibrate) words=$("$program" calibrate --help | sed -n '/^METHOD: /,/^$/{s/^METHOD: //; s/,/ /g; p}') ;;
            check) words="$(compgen -G "$2*.so") all tasks $({ "$program" list methods; "$program" list tasks; } | sed -n 's/^\([a-z_0-9]*\) .*/\1/p')" ;;
            list) words="models families methods tasks" ;;
            bench) words="attention decode linear estimate memory sweep" ;;
            tasks) words="export" ;;
            esac
            ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$2")
}
complete -o default -F _frontier frontier
