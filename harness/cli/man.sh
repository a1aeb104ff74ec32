#!/bin/bash
# Manual pages from --help: frontier.1, and frontier-COMMAND.1 for each command. Usage: man.sh PROGRAM VERSION FOLDER
set -eu
program=$(realpath "$1") version=$2 folder=$3
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
# The help as help2man likes it: lines that are not wrapped yet, commands of examples marked as such.
cat >"$T/frontier" <<EOF
#!/bin/bash
ARGP_HELP_FMT=rmargin=1000 "$program" "\$@" | sed -E 's/^  (frontier .*|for .*)\$/  \$ \\1/; s/^Example/\\n&/'
EOF
chmod +x "$T/frontier"
commands=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
page() { help2man --no-info --version-string="$version" --section=1 "$@" "$T/frontier"; }
also() { printf '[see also]\n%s\n' "$1"; }
page --name="benchmarks sparse attention in language models" \
    --include=<(also "$(sed 's/.*/.BR frontier-& (1),/; $s/,$//' <<<"$commands")") >"$folder/frontier.1"
for c in $commands; do
    page --help-option="$c --help" --name="$("$program" --help | sed -n "s/^  $c *//p")" --include=<(also '.BR frontier (1)') |
        sed -e "s/^\.TH [^ ]*/.TH FRONTIER-${c^^}/" -e "s/^frontier \\\\- /frontier-$c \\\\- /" >"$folder/frontier-$c.1"
done
