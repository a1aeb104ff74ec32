#!/usr/bin/env python3
"""Do the tests notice? Changes one place of the source at a time and runs the tests that reach it.

    tests/mutate.py [--count 300] [--seed 1] [--rooms run,store] [--jobs 1]     goes on where it stopped
    tests/mutate.py --again          only those that lived, against the tests as they are now
    tests/mutate.py --table          only the table of what is known

A mutant is one change of one place: a comparison, a sign, a constant, a condition, a statement left out. What does not
compile, or compiles to the same code, is none. Each room gets its share of the mutants by the size of its code; the seed
chooses them. A mutant is killed by the first test that fails or takes ten times as long; it lives when every test that
reaches its function passes. tests/mutants.txt names those that live because they change nothing that anybody could see, with
the reason.

Works in build/mutate: a copy of the tracked files, built there twice, once to see which test runs which line (gcov). Sources
and tests are copied anew at each start; --fresh looks anew at which test runs what.
"""
import argparse, collections, concurrent.futures, hashlib, json, os, pathlib, queue, random, re, shutil, signal
import subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutate"
ROOMS = {"run": "harness/run", "engine": "harness/engine", "store": "harness/store", "report": "harness/report",
         "config": "harness/config", "methods": "methods", "tasks": "tasks"}
MAKE = ["make", "--no-print-directory", "CUDA=0", "CFLAGS=-O2", "CC=gcc"]
LIMIT, SPARE = 10, 30  # a test may take ten times as long as before, and half a minute

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
    (r"(?<![\w.\[{])(?<!snprintf\(text, )(?:0|[1-9]\d*)(?![\w.\]])(?! <<)", [lambda s: str(int(s, 0) + 1)]), (r"(?<=\()!(?=\w)", [""]),
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
    """Mutants in a fixed random order, each room's share of `count` and as many again in reserve."""
    every = {r: [m for f in sorted((ROOT / ROOMS[r]).rglob("*.c")) for m in mutants_of(r, str(f.relative_to(ROOT)))]
             for r in rooms}
    size = {r: len(every[r]) ** 0.5 for r in rooms}  # a large room gets more, but no room little
    share = {r: round(count * size[r] / sum(size.values())) for r in rooms}
    for r in rooms:
        random.Random(f"{seed} {r}").shuffle(every[r])
    return every, share


# ---- a copy that is built --------------------------------------------------------------------------------------------

def run(words, cwd, **more):
    return subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def copy_tree(to):
    """The tracked files as they lie here; those that did not change keep their times, so that make has little to do."""
    to.mkdir(parents=True, exist_ok=True)
    names = run(["git", "ls-files", "-z"], ROOT).stdout.split("\0")
    names = {n for n in names if n and (ROOT / n).is_file()}
    for old in [p for p in to.rglob("*") if p.is_file() and p.suffix in (".c", ".h", ".sh", ".txt", ".py")]:
        if "build" not in old.relative_to(to).parts and str(old.relative_to(to)) not in names:
            old.unlink()
    for n in names:
        here, there = ROOT / n, to / n
        if there.is_file() and there.stat().st_size == here.stat().st_size and there.read_bytes() == here.read_bytes():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here, there)


def build(tree, *more):
    done = run([*MAKE, f"-j{os.cpu_count()}", *more, "all", "tests"], tree)
    if done.returncode:
        sys.exit(f"{tree} does not build:\n{done.stdout[-3000:]}")


def tests_of(tree):
    """Test programs and scripts by name."""
    return ([p.stem for p in sorted((tree / "tests").glob("test_*.c")) if p.stem != "test_cuda"] +
            [p.name for p in sorted((tree / "tests" / "cli").glob("*.sh"))])


def run_test(tree, test, limit, **more):
    """(passed, seconds); ends at the first failure that is told."""
    script = test.endswith(".sh")
    words = [str(tree / "tests" / "cli" / test)] if script else [str(tree / "build" / "tests" / test)]
    scratch = tempfile.mkdtemp(prefix="frontier-mutant-")
    env = {**os.environ, "FRONTIER": str(tree / "build" / "frontier"), "OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000",
           "TMPDIR": scratch, **more}
    begun = time.monotonic()
    p = subprocess.Popen(words, cwd=tree, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         text=True, errors="replace", start_new_session=True)
    out_of_time = False

    def stop(*_):
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    with concurrent.futures.ThreadPoolExecutor(1) as reader:
        def first_failure():
            for line in p.stderr:
                if "[  FAILED  ]" in line:
                    stop()
        told = reader.submit(first_failure)
        try:
            p.wait(limit)
        except subprocess.TimeoutExpired:
            out_of_time = True
        stop()
        p.wait()
        told.result()
    shutil.rmtree(scratch, ignore_errors=True)
    return p.returncode == 0 and not out_of_time, time.monotonic() - begun


# ---- which test runs what --------------------------------------------------------------------------------------------

def reach(tree):
    """{test: [seconds, {file: {line: function}}]} of a build with counters."""
    build(tree, "CFLAGS=-O1", "SANITIZE=--coverage")
    notes = [p.relative_to(tree / "build") for p in (tree / "build").rglob("*.gcno")]
    known = {}
    for test in tests_of(tree):
        with tempfile.TemporaryDirectory(prefix="frontier-reach-") as at:
            at = pathlib.Path(at)
            passed, seconds = run_test(tree, test, 1200, GCOV_PREFIX=str(at),
                                       GCOV_PREFIX_STRIP=str(len((tree / "build").parts) - 1))
            if not passed:
                sys.exit(f"{test} fails before anything is changed (in {tree})")
            data = []
            for n in notes:
                if (at / n).with_suffix(".gcda").exists() and str(n).startswith(tuple(ROOMS.values())):
                    shutil.copy(tree / "build" / n, at / n)
                    data.append(str((at / n).with_suffix(".gcda")))
            lines = collections.defaultdict(dict)
            said = run(["gcov", "--json-format", "--stdout", *data], tree).stdout if data else ""
            for text in said.splitlines():
                for f in json.loads(text)["files"] if text.startswith("{") else []:
                    for l in f["lines"]:
                        if l["count"] and l.get("function_name"):
                            lines[f["file"]][l["line_number"]] = l["function_name"]
        known[test] = [seconds, lines]
        print(f"  {test}: {seconds:.1f} s, {sum(map(len, lines.values()))} lines", flush=True)
    return known


def functions_of(known):
    """{file: sorted [(first line, function)]} of all that any test runs."""
    first = collections.defaultdict(dict)
    for _, files in known.values():
        for file, lines in files.items():
            for line, function in lines.items():
                first[file][function] = min(int(line), first[file].get(function, 1 << 30))
    return {file: sorted((line, f) for f, line in at.items()) for file, at in first.items()}


def order(known, functions, m):
    """Tests that run the line, the quickest first; then those that run its function."""
    function = None
    for line, f in functions.get(m.file, []):
        if line <= m.line + 1:  # a function's first counted line may be the one below
            function = f
    on_line, in_function = [], []
    for test, (seconds, files) in known.items():
        lines = files.get(m.file, {})
        if str(m.line) in lines:
            on_line.append((seconds, test))
        elif function in lines.values():
            in_function.append((seconds, test))
    return [t for _, t in sorted(on_line)] + [t for _, t in sorted(in_function)]


# ---- one mutant ------------------------------------------------------------------------------------------------------

def put(path, text, stat=None):
    path.write_text(text)
    if stat:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def try_mutant(tree, m, tests, seconds):
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
        if run([*MAKE, target], tree).returncode:
            return "none", "does not compile"
        if (tree / target).read_bytes() == compiled:
            return "none", "the same code"
        for test in tests:
            program = "build/frontier" if test.endswith(".sh") else f"build/tests/{test}"
            made = run([*MAKE, program, *(["build/frontier"] if program != "build/frontier" and test in NEEDS_PROGRAM else [])], tree)
            if made.returncode:
                return "none", "does not link"
            passed, _ = run_test(tree, test, LIMIT * seconds[test] + SPARE)
            if not passed:
                return "killed", test
        return "lived", f"{len(tests)} tests"
    finally:
        put(source, text, kept)
        (tree / target).write_bytes(compiled)
        os.utime(tree / target, ns=(object_kept.st_atime_ns, object_kept.st_mtime_ns))


NEEDS_PROGRAM = {p.stem for p in (ROOT / "tests").glob("test_*.c") if "FRONTIER" in p.read_text()}


# ---- what is known ---------------------------------------------------------------------------------------------------

LOG = WORK / "log.jsonl"


def identity(m):
    return (m.file, m.before.strip(), m.after.strip())


def read_log():
    known = {}
    if LOG.exists():
        for row in map(json.loads, LOG.read_text().splitlines()):
            known[(row["file"], row["before"].strip(), row["after"].strip())] = row
    return known


def excused():
    """Of tests/mutants.txt: {(file, before, after): reason}."""
    rows = {}
    for block in (ROOT / "tests" / "mutants.txt").read_text().split("\n\n"):
        part = [l for l in block.splitlines() if not l.startswith("#")]
        if len(part) == 4:
            rows[tuple(l[2:].strip() if i else l.strip() for i, l in enumerate(part[:3]))] = part[3].strip()
    return rows


def table(known):
    reasons, count = excused(), collections.defaultdict(collections.Counter)
    for key, row in known.items():
        if row["verdict"] != "none":
            verdict = "equivalent" if row["verdict"] == "lived" and key in reasons else row["verdict"]
            count[row["room"]][verdict] += 1
            count["all"][verdict] += 1
            if verdict == "lived":
                print(f"lives  {row['file']}:{row['line']} ({row['by']})\n  - {row['before'].strip()}\n  + {row['after'].strip()}")
    print(f"{'room':8} {'mutants':>8} {'killed':>8} {'equivalent':>10} {'living':>8} {'killed of those that are not equivalent':>40}")
    for room in [*ROOMS, "all"]:
        c = count[room]
        total, real = sum(c.values()), c["killed"] + c["lived"]
        if total:
            print(f"{room:8} {total:8} {c['killed']:8} {c['equivalent']:10} {c['lived']:8} {100 * c['killed'] / max(real, 1):38.1f} %")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--rooms", default=",".join(ROOMS))
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--again", action="store_true")
    p.add_argument("--table", action="store_true")
    p.add_argument("--fresh", action="store_true")
    o = p.parse_args()
    rooms = o.rooms.split(",")
    known = read_log()
    if o.table:
        return table(known)

    every, share = choose(rooms, o.count, o.seed)
    reach_file = WORK / "reach.json"
    if o.fresh or not reach_file.exists():
        print("which test runs what:", flush=True)
        copy_tree(WORK / "counted")
        reach_file.write_text(json.dumps(reach(WORK / "counted")))
    reached = json.loads(reach_file.read_text())
    seconds = {t: s for t, (s, _) in reached.items()}
    functions = functions_of(reached)

    trees = queue.Queue()
    for i in range(o.jobs):
        copy_tree(WORK / f"tree{i}")
        build(WORK / f"tree{i}")
        trees.put(WORK / f"tree{i}")

    def one(m):
        tree = trees.get()
        try:
            begun = time.monotonic()
            verdict, by = try_mutant(tree, m, [t for t in order(reached, functions, m)], seconds)
        finally:
            trees.put(tree)
        row = {**m._asdict(), "verdict": verdict, "by": by, "seconds": round(time.monotonic() - begun, 1)}
        with LOG.open("a") as f:
            f.write(json.dumps(row) + "\n")
        print(f"{verdict:6} {m.file}:{m.line} by {by}, {row['seconds']} s", flush=True)
        return verdict

    if o.again:
        reasons = excused()
        todo = [m for r in rooms for m in every[r]
                if known.get(identity(m), {}).get("verdict") == "lived" and identity(m) not in reasons]
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            list(pool.map(one, todo))
        return table(read_log())

    # Room by room in turn, so that a campaign that is cut short has seen them all.
    waiting = {r: iter(every[r]) for r in rooms}
    left = {r: share[r] for r in rooms}
    for r in rooms:
        left[r] -= sum(known.get(identity(m), {}).get("verdict", "none") != "none" for m in every[r])

    def turns():
        while any(n > 0 for n in left.values()):
            for r in sorted(rooms, key=lambda r: -left[r] / max(share[r], 1)):
                if left[r] > 0:
                    m = next((m for m in waiting[r] if identity(m) not in known), None)
                    if m is None:
                        left[r] = 0
                        continue
                    left[r] -= 1
                    yield m

    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        running = set()
        for m in turns():
            running.add((pool.submit(one, m), m.room))
            while len(running) >= o.jobs:
                concurrent.futures.wait([f for f, _ in running], return_when=concurrent.futures.FIRST_COMPLETED)
                for f, room in [x for x in running if x[0].done()]:
                    running.discard((f, room))
                    if f.result() == "none":
                        left[room] += 1  # another one in its place
        for f, room in running:
            f.result()
    table(read_log())


if __name__ == "__main__":
    main()
