#!/usr/bin/env python3
"""Do the tests notice? Changes one place of the source at a time and runs the tests that concern it.

    tests/mutate.py [--count 300] [--seed 1] [--rooms run,store] [--jobs 1] [--seconds 400] [--whole]
    tests/mutate.py --at tasks/vt.c:80,tasks/vt.c:82    all mutants of these lines
    tests/mutate.py --again         all that stand in the log once more, against source and tests as they are now
    tests/mutate.py --again lived   those alone that lived, and that nothing excuses
    tests/mutate.py --table         the table of what is known, and what lives

Each mutant is first held against the tests of its room; with --whole, those that live against all others then. It goes on
where it stopped, or was stopped by --seconds: what is known stands in --log. Each start runs the tests that it needs once where
nothing is changed: one that fails there is told with its last lines, and left out.

--again begins with the test that killed the mutant the last time, so that it costs about one test a mutant. A mutant is known
by its text and not by its line: it is looked for where code moved within its room. One whose text is no more is told, and
another of its room takes its place.

A mutant is one change of one place: a comparison, a sign, a constant, a condition, a statement left out. What does not
compile, or compiles to the same code, is none. Each room gets its share of the mutants by the size of its code; the seed
chooses them. A mutant is killed by the first test that fails or takes many times as long as ever; it lives when all tests of
its room pass, and in the end when the whole suite does. tests/mutants.txt names those that live because they change nothing
that anybody could see, with the reason.

Works in build/mutate, in copies of the tracked files, which each start brings up to date. One is built, the others are its
copies; a mutant costs one object, the links of the tests that see it, and those tests: a program that comes out the same
byte for byte is not run.
"""
import argparse, collections, concurrent.futures, functools, hashlib, json, os, pathlib, queue, re, resource, shutil, signal
import subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutate"
MAKE = ["make", "--no-print-directory", "CUDA=0", "CFLAGS=-O2", "V=1"] # without -g, programs that do the same are the same

# Where a room lies, and the tests that concern it. A test with a file's own name comes first, then the quickest.
ROOMS = {
    "run": ("harness/run", ["test_dispatch", "test_stopping", "counted.sh", "errors.sh", "chat.sh", "verify.sh", "questions.sh", "sweep.sh", "spread.sh",
                            "help.sh", "stopping.sh", "stored.sh", "cells.sh", "late.sh", "apart.sh", "mpi.sh", "task_plugin.sh", "kill.sh", "families.sh"]),
    "engine": ("harness/engine", ["counted.sh", "test_engine_methods", "test_engine", "test_divergence", "test_families", "test_tensor", "test_pipeline", "sweep.sh"]),
    "store": ("harness/store", ["test_store", "test_store_damage", "stored.sh", "cells.sh", "mpi.sh", "kill.sh", "apart.sh", "faults.sh"]),
    "report": ("harness/report", ["test_stats", "test_report", "test_report_page", "test_report_files", "page.sh", "sweep.sh", "families.sh"]),
    "config": ("harness/config", ["test_sweep", "errors.sh", "chat.sh", "cells.sh", "sweep.sh"]),
    "methods": ("methods", ["test_methods", "test_fitted", "test_engine_methods", "test_methods_plugin", "test_backend_searches", "counted.sh", "help.sh", "calibrate.sh",
                            "roles.sh", "plugin.sh", "test_tensor"]),
    "tasks": ("tasks", ["test_scoring", "test_suites", "test_stories", "test_qa", "test_tasks", "task_plugin.sh", "help.sh"]),
}
# A test may take so many times the processor seconds that it takes where nothing is changed, and some more; and many times
# that until it ends, as others use the machine too. MOST is what it may take where nothing is changed.
TIMES, SPARE, WAIT, MOST = 3, 5, 10, 120
seconds = {}  # of processors, of each test that passes where nothing is changed

Mutant = collections.namedtuple("Mutant", "room file line column before after")


# ---- what may be changed ---------------------------------------------------------------------------------------------

def code_only(text):
    """The text with comments, strings, characters, directives and their continuations blanked, places kept."""
    blank = lambda m: re.sub(r"[^\n]", " ", m.group())
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


EXCHANGES = [  # pattern of a token, what it becomes
    (r"(?<![<>=!+\-*/%&|^])<=(?!=)", ["<"]), (r"(?<![<>=!\-])>=(?!=)", [">"]),
    (r"(?<=\s)<(?=\s)", ["<=", ">"]), (r"(?<=\s)>(?=\s)", [">=", "<"]),
    (r"==", ["!="]), (r"!=", ["=="]), (r"&&", ["||"]), (r"\|\|", ["&&"]),
    (r"(?<=\s)\+(?=\s)", ["-"]), (r"(?<=\s)-(?=\s)", ["+"]), (r"(?<=\s)\*(?=\s)", ["/"]), (r"(?<=\s)/(?=\s)", ["*"]),
    (r"\+\+", ["--"]), (r"\+=", ["-="]), (r"-=", ["+="]),
    (r"\btrue\b", ["false"]), (r"\bfalse\b", ["true"]), (r"\bcontinue\b", ["break"]), (r"\bbreak\b", ["continue"]),
    (r"(?<![\w.\[{])(?<!snprintf\(text, )(?<!<< )(?:0|[1-9]\d*)(?![\w.\]])(?! <<)", [lambda s: str(int(s, 0) + 1)]), (r"(?<=\()!(?=\w)", [""]),
    (r"(?<=\bif \()(?=\S)", ["!("]),  # closed by whole_condition()
]
STATEMENT = re.compile(r"^ {4,}(?!return\b|static\b|const\b|case\b|default\b|goto\b|break\b|continue\b|for\b|if\b|else\b|while\b"
                       r"|do\b|assert|\w*(?:free|close|decref|release|unref)\b)[a-z_][\w>.\-\[\]+* ]*(?:\(| [-+*/|]?= |\+\+|--).*;$", re.M)


def whole_condition(code, start):
    """Where the condition that begins at `start` ends."""
    depth = 0
    for i in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth < 0:
            return i
    return None


def mutants_of(room, file):
    text = (ROOT / file).read_text()
    code, starts = code_only(text), [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = []

    def add(start, end, new):
        line = text.count("\n", 0, start)
        row = text[starts[line]:starts[line + 1] - 1]
        if "assert(" in row or end > starts[line + 1] or code[starts[line]:start].lstrip().startswith(("enum", "static const")) and "(" not in row:
            return
        at = start - starts[line]
        found.append(Mutant(room, file, line + 1, at, row, row[:at] + new + row[at + end - start:]))

    for pattern, changes in EXCHANGES:
        for m in re.finditer(pattern, code):
            for change in changes:
                if change == "!(":
                    end = whole_condition(code, m.start())
                    if end:
                        add(m.start(), end, "!(" + text[m.start():end] + ")")
                else:
                    add(m.start(), m.end(), change(m.group()) if callable(change) else change)
    for m in STATEMENT.finditer(code):
        if not re.match(r"\s*[a-z_]\w*(?: \w+)* \**\w+(?:\[.*\])*(?: =|;|,)", m.group()):  # a declaration
            indent = len(m.group()) - len(m.group().lstrip())
            add(m.start() + indent, m.end(), ";")
    return [m for m in found if m.before != m.after]


def choose(rooms, count, seed):
    """Every mutant of a room, in a random order that a change elsewhere does not touch, and each room's share of `count`."""
    every = {r: [m for f in sorted((ROOT / ROOMS[r][0]).rglob("*.c")) for m in mutants_of(r, str(f.relative_to(ROOT)))]
             for r in rooms}
    size = {r: len(every[r]) ** 0.5 for r in rooms}  # a large room gets more, but no room little
    share = {r: round(count * size[r] / sum(size.values())) for r in rooms}
    place = lambda m: hashlib.sha256(f"{seed} {identity(m)}".encode()).digest()
    return {r: sorted(every[r], key=place) for r in rooms}, share


# ---- a copy that is built --------------------------------------------------------------------------------------------

def run(words, cwd, **more):
    return subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def files_here():
    """Names of the tracked files; of all, where git does not know them."""
    tracked = shutil.which("git") and run(["git", "ls-files", "-z", "Makefile", "*"], ROOT).stdout
    names = tracked.split("\0") if tracked and "Makefile\0" in tracked else \
        [str(p.relative_to(ROOT)) for top in ROOT.iterdir() if not top.name.startswith(("build", ".")) for p in [top, *top.rglob("*")]]
    return {n for n in names if n and (ROOT / n).is_file()}


def tree_hash():
    """A number of the source and the tests as they lie here, on which verdicts depend."""
    part = re.compile(r"(?:Makefile|base/|kernels/|methods/|tasks/|harness/|plots/|configs/|examples/|tests/(?!peers/|browser/|mut))(?!.*\.(?:md|pyc)$)")
    names = sorted(n for n in files_here() if part.match(n))
    return hashlib.sha256(b"".join(n.encode() + digest(ROOT / n) for n in names)).hexdigest()[:12]


def copy_tree(to):
    """The files as they lie here; those that did not change keep their times, so that make has little to do."""
    to.mkdir(parents=True, exist_ok=True)
    names = files_here()
    for old in [p for p in to.rglob("*") if p.is_file() and p.suffix in (".c", ".h", ".sh", ".txt", ".py")]:
        if "build" not in old.relative_to(to).parts and str(old.relative_to(to)) not in names:
            old.unlink()
    for n in names:
        here, there = ROOT / n, to / n
        if there.is_file() and there.stat().st_size == here.stat().st_size and there.read_bytes() == here.read_bytes():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here, there)


ARCHIVE = "build/libfrontier.a"


def build(tree):
    (tree / ARCHIVE).unlink(missing_ok=True)  # the last campaign's
    done = run([*MAKE, f"-j{os.cpu_count()}", "all", "tests"], tree)
    if done.returncode:
        sys.exit(f"{tree} does not build:\n{done.stdout[-3000:]}")


COMMAND = {}  # of the Makefile, by what it makes
SAME = {}     # program: hash of what is linked where nothing is changed


def learn(tree):
    """How each object and program is made, and what comes out."""
    for line in run([*MAKE, "--always-make", "--dry-run", "all", "tests"], tree).stdout.splitlines():
        made = re.search(r" (?:-o|rcs) (\S+)", line)
        if made and " -MM " not in line:
            COMMAND[made.group(1)] = line.lstrip("@")
    COMMAND[ARCHIVE] = f"rm -f {ARCHIVE}; " + COMMAND[ARCHIVE].replace(" rcs ", " rcsT ", 1)  # names alone, no copies
    for target in [t for t in COMMAND if re.fullmatch(r"build/(frontier|tests/test_\w+)", t)]:
        if not make(tree, target):
            sys.exit(f"{target} does not link in {tree}")
        SAME[target] = digest(tree / target)


def digest(path):
    return hashlib.sha256(path.read_bytes()).digest()


def make(tree, target):
    """Whether it could be made, anew."""
    if not target.endswith((".o", ".a")) and run(COMMAND[ARCHIVE], tree, shell=True).returncode:
        return False
    return run(COMMAND[target], tree, shell=True).returncode == 0


def tests_of(tree):
    """Test programs and scripts by name."""
    return ([p.stem for p in sorted((tree / "tests").glob("test_*.c"))] +
            [p.name for p in sorted((tree / "tests" / "cli").glob("*.sh"))])


def cores(tree):
    """Two or more for each tree: a test that takes all there are takes no other's."""
    every, i = sorted(os.sched_getaffinity(0)), int(tree.name[4:])
    each = max(2, len(every) // JOBS)
    return {every[(i * each + k) % len(every)] for k in range(each)}


def run_test(tree, test, limit):
    """(whether it passes, processor seconds, its last lines); ends at the first failure that is told, and when it takes more
    than `limit` seconds of processors, or many times that."""
    wait = min(limit * WAIT, DEADLINE - time.monotonic())
    if wait <= 0:
        raise TimeoutError
    script = test.endswith(".sh")
    words = [str(tree / "tests" / "cli" / test)] if script else [str(tree / "build" / "tests" / test)]
    roomy = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 4 << 30 # in a container it may hold 64 MB
    scratch = tempfile.mkdtemp(prefix="mutant-", dir="/dev/shm" if roomy else None)
    env = {**os.environ, "FRONTIER": str(tree / "build" / "frontier"), "OPENBLAS_NUM_THREADS": "1",
           "GOMP_SPINCOUNT": "0", "TMPDIR": scratch}
    p = subprocess.Popen(words, cwd=tree, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, errors="replace", start_new_session=True,
                         preexec_fn=lambda: (resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)), os.sched_setaffinity(0, cores(tree))))
    last = collections.deque(maxlen=12)

    def stop():
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def read():
        for line in p.stdout:
            if not re.match(r"\[ RUN|\[ +OK", line):
                last.append(line)
            if "[  FAILED  ]" in line:
                stop()

    reader, alarm = threading.Thread(target=read, daemon=True), threading.Timer(wait, stop)
    reader.start(), alarm.start()
    _, status, used = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    alarm.cancel()
    stop()
    reader.join(5)  # what a test left running in a session of its own may hold the pipe
    shutil.rmtree(scratch, ignore_errors=True)
    if p.returncode and time.monotonic() >= DEADLINE:
        raise TimeoutError
    if p.returncode < 0:
        last.append(f"ended by signal {-p.returncode}, of {limit} s\n")
    return p.returncode == 0, used.ru_utime + used.ru_stime, "".join(last)


def measure(pool, trees, tests):
    """Runs these tests where nothing is changed."""
    def one(test):
        tree = trees.get()
        try:
            return test, *run_test(tree, test, MOST)
        except TimeoutError:
            return test, False, 0, "no time was left for it"
        finally:
            trees.put(tree)

    for test, passes, took, last in pool.map(one, sorted(tests, key=lambda t: t not in LONG)):
        if passes:
            seconds[test] = took
        else:
            print(f"LEFT OUT: {test} fails where nothing is changed, after {took:.0f} s:\n{last}", flush=True)


LONG = ["test_report_files", "test_tensor", "test_check", "mini.sh", "test_store"]  # begin first
DEADLINE, JOBS = float("inf"), 1


def room_tests(m):
    return [f"test_{pathlib.Path(m.file).stem}", *ROOMS[m.room][1]]


def concerning(m, whole, killer=None):
    """The tests of the mutant's room, and the one that killed it the last time before them; or all others."""
    room = room_tests(m)
    return sorted((t for t in seconds if (t in room or t == killer) != whole), key=lambda t: (t != killer, t != room[0], seconds[t]))


# ---- one mutant ------------------------------------------------------------------------------------------------------

def put(path, text, stat=None):
    path.write_text(text)
    if stat:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def links(tree, test):
    """Links the programs that a test needs. None: one does not link; else whether one of them is another than without the mutant."""
    needs = ["build/frontier"] if test.endswith(".sh") or test in NEEDS_PROGRAM else []
    needs += [] if test.endswith(".sh") else [f"build/tests/{test}"]
    if not all([make(tree, target) for target in needs]):
        return None
    return any(digest(tree / target) != SAME[target] for target in needs)


def try_mutant(tree, m, tests):
    """('none' | 'killed' | 'lived', by what)"""
    source, target = tree / m.file, f"build/{m.file[:-2]}.o"
    text, kept, compiled = source.read_text(), source.stat(), (tree / target).read_bytes()
    object_kept = (tree / target).stat()
    rows = text.split("\n")
    if rows[m.line - 1] != m.before:
        return "none", "the line is another"
    rows[m.line - 1] = m.after
    try:
        put(source, "\n".join(rows))
        if not make(tree, target):
            return "none", "does not compile"
        if (tree / target).read_bytes() == compiled:
            return "none", "the same code"
        ran = 0
        for test in tests:
            another = links(tree, test)
            if another is None:
                return "none", "does not link"
            ran += another
            if another and not run_test(tree, test, int(TIMES * seconds[test] + SPARE))[0]:
                return "killed", test
    finally:
        put(source, text, kept)
        (tree / target).write_bytes(compiled)
        os.utime(tree / target, ns=(object_kept.st_atime_ns, object_kept.st_mtime_ns))
    return "lived", f"{ran} tests"


NEEDS_PROGRAM = {p.stem for p in (ROOT / "tests").glob("test_*.c") if "FRONTIER" in p.read_text()}


# ---- what is known ---------------------------------------------------------------------------------------------------

def identity(m):
    return (m.file, m.before.strip(), m.after.strip())


def mutant(row):
    return Mutant(*[row[field] for field in Mutant._fields])


def read_log(log, which=lambda row: True):
    """The last row of each mutant, of those rows, by its identity."""
    known = {}
    if log.exists():
        for row in filter(which, map(json.loads, log.read_text().splitlines())):
            known[identity(mutant(row))] = row
    return known


def real(row):
    """Whether it says of a mutant how it fared: not of one that was none, or is gone."""
    return row["verdict"] in ("killed", "lived")


def find(row, every):
    """The mutant of a row of the log in the source as it is; None: its text is no more. Of several, the one nearest to where it
    was."""
    same = [m for m in every[row["room"]] if identity(m)[1:] == identity(mutant(row))[1:]]
    return min(same, key=lambda m: (m.file != row["file"], abs(m.line - row["line"])), default=None)


def excused():
    """Of tests/mutants.txt: {(file, before, after): reason}."""
    rows = {}
    for block in (ROOT / "tests" / "mutants.txt").read_text().split("\n\n"):
        part = [l for l in block.splitlines() if not l.startswith("#")]
        if len(part) == 4:
            rows[tuple(l[2:].strip() if i else l.strip() for i, l in enumerate(part[:3]))] = part[3].strip()
    return rows


def table(known):
    """Of the mutants whose line is still there."""
    reasons, count, now = excused(), collections.defaultdict(collections.Counter), tree_hash()
    lines = functools.cache(lambda file: {l.strip() for l in (ROOT / file).read_text().split("\n")} if (ROOT / file).exists() else set())
    for key, row in known.items():
        if real(row) and row["before"].strip() in lines(row["file"]):
            count["tree"][row.get("tree") == now] += 1
            verdict = "equivalent" if row["verdict"] == "lived" and key in reasons else row["verdict"]
            count[row["room"]][verdict] += 1
            count["all"][verdict] += 1
            if verdict == "lived":
                print(f"lives  {row['file']}:{row['line']} ({row['by']})\n  - {row['before'].strip()}\n  + {row['after'].strip()}")
    print(f"{count['tree'][True]} of {count['tree'].total()} mutants were tried on the tree as it is ({now})")
    print(f"{'room':8} {'mutants':>8} {'killed':>8} {'equivalent':>10} {'living':>8} {'killed of those that are not equivalent':>40}")
    for room in [*ROOMS, "all"]:
        c = count[room]
        total, judged = sum(c.values()), c["killed"] + c["lived"]
        if total:
            print(f"{room:8} {total:8} {c['killed']:8} {c['equivalent']:10} {c['lived']:8} {100 * c['killed'] / max(judged, 1):38.1f} %")


def main():
    global DEADLINE, JOBS
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--rooms", default=",".join(ROOMS))
    p.add_argument("--at", metavar="FILE:LINE,...", help="all mutants of these lines, instead of chosen ones")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--seconds", type=float, default=float("inf"), help="stop then")
    p.add_argument("--log", type=pathlib.Path, default=WORK / "log.jsonl")
    p.add_argument("--again", nargs="?", const="all", choices=("all", "lived"))
    for option in ("--whole", "--table"):
        p.add_argument(option, action="store_true")
    o = p.parse_args()
    rooms = o.rooms.split(",")
    if o.table:
        return table(read_log(o.log))

    begun, JOBS = time.monotonic(), o.jobs
    DEADLINE = begun + o.seconds
    since = lambda: time.monotonic() - begun
    every, share = choose(rooms, o.count, o.seed)
    if o.at:
        every = {r: [m for m in ms if f"{m.file}:{m.line}" in o.at.split(",")] for r, ms in every.items()}
        share = {r: len(ms) for r, ms in every.items()}
    tree_now, reasons = tree_hash(), excused()
    older, known = read_log(o.log, lambda row: row.get("tree") != tree_now), read_log(o.log)
    again = [row for key, row in older.items() if real(row) and row["room"] in rooms and known[key].get("tree") != tree_now and
             (o.again == "all" or o.again == "lived" and row["verdict"] == "lived" and key not in reasons)]
    if o.again == "all":
        share = {r: sum(real(row) and row["room"] == r for row in older.values()) for r in rooms}
        known = read_log(o.log, lambda row: row.get("tree") == tree_now)

    first, trees = WORK / "tree0", queue.Queue()
    copy_tree(first)
    build(first)
    learn(first)
    for i in range(o.jobs):
        tree = WORK / f"tree{i}"
        if i:
            shutil.rmtree(tree, ignore_errors=True)
            run(["cp", "-a", first, tree], WORK)
        trees.put(tree)
    print(f"{o.jobs} trees after {since():.0f} s", flush=True)
    writing = threading.Lock()

    def write(m, verdict, by, **more):
        with writing, o.log.open("a") as f:
            f.write(json.dumps({**m._asdict(), "verdict": verdict, "by": by, "tree": tree_now, **more}) + "\n")
        print(f"{verdict:6} {m.file}:{m.line} by {by}" + (f", {more['seconds']} s" if more else ""), flush=True)

    def one(m, whole=False, killer=None):
        """The verdict; None: there was no time for one."""
        tree, first = trees.get(), since()
        try:
            verdict, by = try_mutant(tree, m, concerning(m, whole, killer))
        except TimeoutError:
            return None
        finally:
            trees.put(tree)
        write(m, verdict, by, whole=whole, seconds=round(since() - first, 1))
        return verdict

    killer = lambda row: row["by"] if row["verdict"] == "killed" else None

    def once_more(row):
        m = find(row, every)
        if not m:
            return write(mutant(row), "gone", "a change of its text")
        verdict = one(m, killer=killer(row))
        if verdict and m.file != row["file"]:
            write(mutant(row), "gone", f"a move to {m.file}")

    def living():
        rows = read_log(o.log)
        found = [(m, rows.get(identity(m), {})) for r in rooms for m in every[r]]
        return [m for m, row in found if row.get("verdict") == "lived" and not row["whole"] and identity(m) not in reasons]

    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        tests = set(tests_of(first))
        if not o.whole:
            tests &= {t for r in rooms for m in every[r] for t in room_tests(m)} | set(map(killer, again))
        measure(pool, trees, tests)
        print(f"{len(seconds)} tests pass where nothing is changed, after {since():.0f} s", flush=True)
        list(pool.map(once_more, sorted(again, key=lambda row: (row["verdict"] != "lived", -row["seconds"])))) # the longest first
        known |= read_log(o.log, lambda row: row.get("tree") == tree_now)
        new_ones(pool, one, every, share, known, o.jobs)
        if o.whole:
            list(pool.map(lambda m: one(m, True), living()))
    if time.monotonic() >= DEADLINE:
        print("stopped by --seconds: the same command goes on")
    table(read_log(o.log))


def new_ones(pool, one, every, share, known, jobs):
    """Room by room in turn, so that a campaign that is cut short has seen them all; those that are none are replaced."""
    waiting = {r: iter({identity(m): m for m in ms if identity(m) not in known}.values()) for r, ms in every.items()}
    there = {identity(m) for ms in every.values() for m in ms}
    had = collections.Counter(row["room"] for key, row in known.items() if real(row) and key in there)
    left = {r: share[r] - had[r] for r in every}

    def turns():
        while any(n > 0 for n in left.values()):
            for r in sorted(every, key=lambda r: -left[r] / max(share[r], 1)):
                if left[r] > 0:
                    m = next(waiting[r], None)
                    left[r] = left[r] - 1 if m else 0
                    if m:
                        yield m

    running = {}
    for m in turns():
        if time.monotonic() >= DEADLINE:
            break
        running[pool.submit(one, m)] = m.room
        while len(running) >= jobs:
            done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for f in done:
                left[running.pop(f)] += f.result() == "none"
    concurrent.futures.wait(running)


if __name__ == "__main__":
    main()
