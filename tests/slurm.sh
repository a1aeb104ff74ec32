#!/bin/bash
# A real Slurm on this machine (slurm-wlm and munge of Debian, as root; two nodes that are daemons of one host): `frontier submit
# --go`, requeued in the middle, goes on, and the file is that of one process. Outside of CI: it starts daemons of its own, in a
# scratch folder, and stops them.
. "$(dirname "$0")/cli/common.bash"
needs_mpi
for program in munged slurmctld slurmd sbatch; do
    command -v $program >/dev/null || PATH=$PATH:/usr/sbin
    command -v $program >/dev/null || { echo "skipped: no $program (apt-get install slurm-wlm munge)"; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: needs root, for its own slurmd"; exit 0; }

# Both nodes are one host, which Open MPI's shared memory would take them for.
export OMPI_MCA_btl=tcp,self OMPI_MCA_pml=ob1
daemons=()
cleanup() {
    for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do kill "${daemons[$i]}" 2>/dev/null && wait "${daemons[$i]}" 2>/dev/null || true; done
}
pause() { read -r -t "${1:-0.2}" <> <(:) || true; }
until_true() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; pause; done
}

chmod 755 "$T" && mkdir -p "$T"/{state,spool.n1,spool.n2,tmp.n1,tmp.n2,munge}
head -c 1024 /dev/urandom >"$T/munge/key" && chmod 400 "$T/munge/key" && chmod 755 "$T/munge"
munged --foreground --force --key-file="$T/munge/key" --socket="$T/munge/socket" --pid-file="$T/munge/pid" \
    --log-file="$T/munge/log" --seed-file="$T/munge/seed" 2>"$T/munge.err" & daemons+=($!)
until_true 10 test -S "$T/munge/socket" || fail "munged: $(cat "$T/munge.err" "$T/munge/log" 2>/dev/null)"

host=$(hostname -s) base=$((20000 + RANDOM % 20000))
export SLURM_CONF=$T/slurm.conf
cat >"$SLURM_CONF" <<EOF
ClusterName=frontier
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$base
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$T/munge/socket
CredType=cred/munge
StateSaveLocation=$T/state
SlurmdSpoolDir=$T/spool.%n
TmpFS=$T/tmp.%n
SlurmctldPidFile=$T/ctld.pid
SlurmdPidFile=$T/slurmd.%n.pid
SlurmctldLogFile=$T/ctld.log
SlurmdLogFile=$T/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,requeue_delay=1
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((base + 1)) CPUs=4 RealMemory=1000 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((base + 2)) CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
EOF
echo "CgroupPlugin=cgroup/v1" >"$T/cgroup.conf" # which nothing here uses
slurmctld -D -i >"$T/ctld.out" 2>&1 & daemons+=($!)
for node in n1 n2; do slurmd -D -N $node >"$T/$node.out" 2>&1 & daemons+=($!); done
both_idle() { [ "$(sinfo -h -N -t idle -o %N | wc -l)" = 2 ]; }
until_true 60 both_idle || fail "Slurm did not come up: $(tail -n 5 "$T"/*.out "$T"/*.log)"
echo "Slurm $(sinfo --version): $(sinfo -h -N -o '%N %T' | tr '\n' ' ')"

# The sweep takes some tens of seconds, so that there is a middle.
tiny
echo "threads: 1" >>"$T/tiny.yaml"
more=(-s "samples=${SAMPLES:-150}")
"$FRONTIER" run "$T/tiny.yaml" -o "$T/one.h5" "${more[@]}" >/dev/null 2>"$T/log" || fail "one process: $(cat "$T/log")"
"$FRONTIER" submit "$T/tiny.yaml" "${more[@]}" --out "$T/many.h5" --nodes 2 --tasks-per-node 2 --time 20:00 --ahead 60 --script "$T/tiny.sbatch" \
    --log "$T/job-%j.log" --go >"$T/said" 2>&1 || fail "submit: $(cat "$T/said")"
cat "$T/said"
job=$(sed -nE 's/^Job ([0-9]+).*/\1/p' "$T/said") report=$(sed -nE 's/^Job [0-9]+, then ([0-9]+).*/\1/p' "$T/said")
[ -n "$job" ] && [ -n "$report" ] || fail "no job numbers: $(cat "$T/said")"

parts() { [ "$(ls "$T/many.h5.parts" 2>/dev/null | wc -l)" -gt "$1" ]; }
until_true 120 parts 10 || fail "nothing was stored: $(cat "$T"/job-*.log; squeue; tail -n 20 "$T"/slurmd.n1.log)"
scontrol requeue "$job" || fail "requeue"
echo "requeued job $job with $(ls "$T/many.h5.parts" 2>/dev/null | wc -l) parts stored"
state() { squeue -h -j "$1" -o %T 2>/dev/null; }
over() { [ -z "$(state "$job")$(state "$report")" ] || scontrol show job "$report" | grep -qE 'JobState=(COMPLETED|FAILED|CANCELLED)'; }
until_true 900 over || fail "it did not end: $(squeue; cat "$T"/job-*.log)"
scontrol show job "$job" | grep -E 'JobState|Restarts' | sed 's/^ */    /'
scontrol show job "$job" | grep -q 'Restarts=[1-9]' || fail "it was not requeued"
scontrol show job "$job" | grep -q 'JobState=COMPLETED' || fail "the job: $(scontrol show job "$job"; cat "$T"/job-*.log)"
rows "$T/one.h5" >"$T/a"; rows "$T/many.h5" >"$T/b"
cmp -s "$T/a" "$T/b" || fail "the rows differ: $(diff "$T/a" "$T/b" | head -n 4)"
"$FRONTIER" compare "$T/one.h5" "$T/many.h5"
[ -e "$T/many-report/index.html" ] || fail "no report: $(scontrol show job "$report"; cat "$T"/job-*.log)"
echo "slurm: ok"
