#!/bin/bash
# What `make install` brings beside the program: manual pages and completion, which ask the program itself.
. "$(dirname "$0")/common.bash"
P=$T/prefix
installed "$P"
for c in $("$FRONTIER" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    grep -q "^\.TH FRONTIER-${c^^} " "$P/share/man/man1/frontier-$c.1" || fail "no manual page of $c"
    grep -q "frontier-$c" "$P/share/man/man1/frontier.1" || fail "frontier.1 does not name frontier-$c"
done
# The demo and its models come along, and are found from anywhere; so do copies of a model's folder.
mkdir "$T/elsewhere"
(cd "$T/elsewhere" && "$P/bin/frontier" plan configs/demo.yaml) | grep -q '^demo: 744 cells' || fail "the demo is not found once installed"
cp -r models/frontier-mini/m "$T/elsewhere/copy"
"$FRONTIER" show "$T/elsewhere/copy" --chat | grep -q user || fail "a copy of models/frontier-mini/m is no model"
PATH=$P/bin:$PATH
. "$P/share/bash-completion/completions/frontier"
# completes WORDS...: what is offered for the last of them
completes() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _frontier "$1" "${!#}" "${COMP_WORDS[$# - 2]}"; echo "${COMPREPLY[*]}"; }
[ "$(completes frontier rep)" = report ] || fail "rep: $(completes frontier rep)"
[ "$(completes frontier run --sha)" = --shard ] || fail "--sha: $(completes frontier run --sha)"
[ "$(completes frontier check vert)" = vertical_slash ] || fail "vert: $(completes frontier check vert)"
[ "$(completes frontier show x.h5 --method snap)" = snapkv ] || fail "snap: $(completes frontier show x.h5 --method snap)"
[ "$(completes frontier calibrate do)" = double_sparsity ] || fail "do: $(completes frontier calibrate do)"
[ -z "$(completes frontier run conf)" ] || fail "file names are the shell's: $(completes frontier run conf)"
if command -v zsh >/dev/null; then
    zsh -f -c "fpath=('$P/share/zsh/site-functions' \$fpath); autoload -Uz compinit; compinit -u -D; [[ \$_comps[frontier] = _frontier ]]" ||
        fail "zsh does not take the completion"
fi
