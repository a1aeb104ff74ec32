#!/bin/bash
# The batch script that `frontier submit` writes and sends, with an sbatch that is not one; and what `plan --cluster` says.
. "$(dirname "$0")/common.bash"
tiny
"$FRONTIER" submit "$T/tiny.yaml" --nodes 4 --tasks-per-node 8 --time 12:00:00 --out "$T/it's.h5" --set samples=2 --script "$T/job" >"$T/said" || fail submit
grep -q "sbatch $T/job" "$T/said" || fail "it does not say what next: $(cat "$T/said")"
bash -n "$T/job" || fail "no script of bash"
for line in '#SBATCH --nodes=4' '#SBATCH --ntasks-per-node=8' '#SBATCH --time=12:00:00' '#SBATCH --requeue' '#SBATCH --signal=TERM@600'; do
    grep -qF -- "$line" "$T/job" || fail "no '$line' in: $(cat "$T/job")"
done
refused "may have been edited" "$FRONTIER" submit "$T/tiny.yaml" --script "$T/job"
refused "add --set device=cuda" "$FRONTIER" submit "$T/tiny.yaml" --gpus-per-node 2 --script "$T/other"
refused "nothing would run" "$FRONTIER" submit "$T/tiny.yaml" --time 10:00 --ahead 600 --script "$T/other"
refused "as Slurm writes it" "$FRONTIER" submit "$T/tiny.yaml" --time soon --script "$T/other"
"$FRONTIER" submit "$T/tiny.yaml" --time 1-00 --script "$T/day" >/dev/null && grep -q 'TERM@600' "$T/day" || fail "a day"
"$FRONTIER" submit "$T/tiny.yaml" --time 30 --script "$T/half" >/dev/null && grep -q 'TERM@180' "$T/half" || fail "half an hour"
refused "takes a multiple of 3" "$FRONTIER" submit "$T/tiny.yaml" --nodes 2 --set 'parallel={tensor: 3}' --script "$T/other"
refused "takes a multiple of 4" "$FRONTIER" submit "$T/tiny.yaml" --nodes 2 --set 'parallel={tensor: 2, pipeline: 2}' --script "$T/other"
[ ! -e "$T/other" ] || fail "a refused submit left a script"

# Sent: the job, and one for the report after it. What srun would run is run here.
mkdir "$T/bin"
cat >"$T/bin/sbatch" <<'EOF'
#!/bin/bash
echo "$*" >>"$SENT"
wc -l <"$SENT"
EOF
printf '#!/bin/bash\nshift\nexec "$@"\n' >"$T/bin/srun"
chmod +x "$T/bin/sbatch" "$T/bin/srun"
export SENT=$T/sent PATH=$T/bin:$PATH
"$FRONTIER" submit "$T/tiny.yaml" --out "$T/it's.h5" --set samples=2 --script "$T/job" --overwrite --go >"$T/said" || fail "--go: $(cat "$T/said")"
grep -q '^Job 1, then 2 for the report' "$T/said" || fail "--go says: $(cat "$T/said")"
grep -q -- "--dependency=afterok:1" "$T/sent" || fail "sent: $(cat "$T/sent")"
bash "$T/job" >/dev/null 2>"$T/log" || fail "the script: $(cat "$T/log")"
[ -e "$T/it's.h5" ] || fail "the script ran nothing"
printf '#!/bin/bash\necho no >&2; exit 1\n' >"$T/bin/sbatch"
refused "sbatch did not take the job" "$FRONTIER" submit "$T/tiny.yaml" --script "$T/job" --overwrite --go

"$FRONTIER" plan "$T/tiny.yaml" --cluster 4x8:h200 | grep -q '32 workers' || fail "plan --cluster"
"$FRONTIER" plan "$T/tiny.yaml" --set samples=2 --cluster 1x2 --measured "$T/it's.h5" | grep -q '10 of 10 cells as measured' || fail "plan --measured"
"$FRONTIER" plan "$T/tiny.yaml" --cluster 2x4:h100 --json | grep -q '"gpu_hours"' || fail "plan --cluster --json"
refused "known are h200" "$FRONTIER" plan "$T/tiny.yaml" --cluster 4x8:h900
refused "NODESxGPUS" "$FRONTIER" plan "$T/tiny.yaml" --cluster many
refused "or by --measured" "$FRONTIER" plan "$T/tiny.yaml" --cluster 4x8
echo "submit: ok"
