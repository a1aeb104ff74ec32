#!/bin/bash
# kill -9 at random instants, resume each time: the results equal an uninterrupted run's. KILLS=200 for the long version.
. "$(dirname "$0")/common.bash"
kills=${KILLS:-6}
tiny
cleanup() { umount "$T/small"; }
"$FRONTIER" run "$T/tiny.yaml" -o "$T/whole.h5" -t 1 >/dev/null 2>&1
rows "$T/whole.h5" >"$T/whole"
killed=0 RANDOM=${SEED:-1}
rm -f "$T/k.h5"
while [ $killed -lt "$kills" ]; do
    "$FRONTIER" run "$T/tiny.yaml" -o "$T/k.h5" -t 1 >/dev/null 2>"$T/log" &
    pid=$!
    read -r -t "0.$(printf '%03d' $((RANDOM % 400)))" <> <(:) || true
    if kill -9 $pid 2>/dev/null; then
        wait $pid 2>/dev/null || true
        killed=$((killed + 1))
    else # it had finished: compare, and begin anew
        wait $pid || fail "a resumed run failed: $(cat "$T/log")"
        rows "$T/k.h5" | cmp -s - "$T/whole" || fail "after $killed kills: $(rows "$T/k.h5" | diff - "$T/whole" | head -n 4)"
        rm -rf "$T"/k.h5*
    fi
done
"$FRONTIER" run "$T/tiny.yaml" -o "$T/k.h5" -t 1 >/dev/null 2>"$T/log" || fail "the last run failed: $(cat "$T/log")"
rows "$T/k.h5" | cmp -s - "$T/whole" || fail "after $killed kills: $(rows "$T/k.h5" | diff - "$T/whole" | head -n 4)"
echo "$killed kills survived"

# A full disk: one error, and a file that goes on when there is room.
mkdir "$T/small"
if mount -t tmpfs -o size=192k tmpfs "$T/small" 2>/dev/null; then
    refused 'disk|space|write' "$FRONTIER" run "$T/tiny.yaml" -o "$T/small/f.h5" -t 1 -s samples=40
    mount -o remount,size=64m "$T/small"
    "$FRONTIER" run "$T/tiny.yaml" -o "$T/small/f.h5" -t 1 >/dev/null 2>"$T/log" || fail "after a full disk: $(cat "$T/log")"
    "$FRONTIER" export "$T/small/f.h5" --jsonl >/dev/null || fail "export after a full disk"
    umount "$T/small"
else
    echo "skipped: full disk (needs the right to mount a tmpfs)"
fi
echo "kill: ok"
