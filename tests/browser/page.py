#!/usr/bin/env python3
"""Opens a report's page from disk in headless Chromium, and uses it as a reader would.

    tests/browser/page.py REPORT_FOLDER [--screenshots FOLDER]

Needs Chromium (Debian: chromium), and from PyPI playwright and axe-playwright-python. Checks: nothing is loaded from elsewhere, no
error on the console, numbers of points and cells are those of the CSV files, pointer and keyboard reach points, filters and the
address do what they say, axe finds no fault at 1200 and 400 px, dark and light. Prints what it measured; exit status 1: a check failed.
"""
import argparse
import csv
import pathlib
import re
import shutil
import sys

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

failures = []


def check(holds, what):
    if not holds:
        failures.append(what)
        print("FAILED:", what)


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Reader:
    """A browser window with the page in it; what goes wrong there is a failure here."""

    def __init__(self, browser, folder, width=1200, scheme="light", address=""):
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", lambda message: check(message.type != "error", f"console: {message.text}"))
        self.page.on("pageerror", lambda error: check(False, f"page error: {error}"))
        self.page.on("request", lambda request: check(request.url.startswith(("file:", "data:", "blob:")), f"loads {request.url}"))
        self.protocol = self.page.context.new_cdp_session(self.page)
        self.protocol.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.page.goto(f"file://{folder.resolve()}/index.html{address}", timeout=300000)
        self.page.wait_for_selector("html[data-ready]", timeout=300000, state="attached")
        self.seconds = self.thread_time()

    def thread_time(self):
        """Seconds that the page's own thread has run: what a reader waits for on a machine that does nothing else."""
        return next(x["value"] for x in self.protocol.send("Performance.getMetrics")["metrics"] if x["name"] == "ThreadTime")

    def table(self):
        """The points that are drawn, as the page's own table has them, all of them."""
        self.page.evaluate("document.querySelector('#chart-table').open = true")
        self.page.wait_for_selector("#chart-table tbody tr")
        if self.page.locator("[data-control=list-all]").count():
            self.page.click("[data-control=list-all]")
        return self.cells("#chart-table")

    def cells(self, table):
        """Texts of a table's body; none is a zero with a sign."""
        rows = self.page.evaluate("""table => [...document.querySelectorAll(table + ' tbody tr')].map(
            row => [...row.cells].map(cell => cell.textContent.replaceAll('−', '-')))""", table)
        for cell in (cell for row in rows for cell in row):
            check(not re.search(r"[-+]0(\.0*)?(?![\d.])", cell), f"{table} has {cell}")
        return rows

    def choose(self, control, value):
        self.page.select_option(f"[data-control={control}] select", value)

    def note(self):
        return self.page.inner_text("#chart-note")


def same(text, number, digits=3):
    return text == "–" if number == "" else abs(float(text.replace("+", "")) - float(number)) <= 0.51 * 10 ** -digits


def check_points(browser, folder):
    """Every point over all tasks, in each phase, against tables/scores.csv."""
    rows = {(r["model"], r["tokens"], r["arm"], r["requested"]): r for r in read(folder / "tables/scores.csv")}
    reader, seen = Reader(browser, folder), 0
    phases = reader.page.eval_on_selector_all("[data-control=phase] option", "all => all.map(one => one.value)") or [None]
    for phase in phases:
        if phase:
            reader.choose("phase", phase)
        for cells in reader.table():
            level = cells[3] if cells[3] == "set" else "/".join(f"{float(x):.2f}" for x in cells[3].split("/"))
            row = rows.get((cells[0], cells[1], cells[2], level))
            check(row is not None, f"no row in scores.csv for {cells[:4]}")
            if row is None:
                continue
            seen += 1
            check(same(cells[6], row["score"]), f"score of {cells[:4]}: {cells[6]} and {row['score']}")
            check(same(cells[8], row["difference"]), f"difference of {cells[:4]}: {cells[8]} and {row['difference']}")
            check(cells[10] == row["samples"], f"samples of {cells[:4]}: {cells[10]} and {row['samples']}")
            if row["low"]:
                low, high = cells[7].strip("[]").split(", ")
                check(same(low, row["low"]) and same(high, row["high"]), f"interval of {cells[:4]}: {cells[7]}")
    check(seen > 10, f"only {seen} points were compared")
    print(f"points: {seen} equal to scores.csv")


def check_costs(browser, folder):
    """Costs of the frontier at the config's batch, by each cost model, against the figures' CSV files."""
    seen = 0
    for cost, name in (("paper", "frontier"), ("exact", "frontier_exact"), ("seconds", "isotime")):
        rows = [r for path in sorted((folder / "figures").glob(f"{name}*.csv")) if path.stem in (name, *(f"{name}-{i}" for i in range(1, 9)))
                for r in read(path)]
        reader = Reader(browser, folder, address=f"#cost={cost}&phase=decode")
        page = {tuple(c[:4]): c for c in reader.table()}
        for row in rows:
            if row["phase"] != "decode" or row["arm"] == "dense" or row["requested"] == "set":
                continue
            cells = page.get((row["model"], row["tokens"], row["arm"], f"{float(row['requested']):g}"))
            check(cells is not None, f"{name}: {row['model']} {row['arm']} {row['requested']} is not on the page")
            if not cells:
                continue
            value, prefix = cells[5].rstrip("kMGTPE"), cells[5][-1]
            value = float(value) * 1000 ** (" kMGTPE".index(prefix) if prefix in "kMGTPE" else 0)
            check(abs(value - float(row["cost"])) <= 0.006 * value, f"{name}: cost {cells[5]} and {row['cost']}")
            seen += 1
        reader.page.close()
    print(f"costs: {seen} equal to the figures' CSV files")


def check_divergence(browser, folder):
    """KL over all tasks, its mean over models and lengths, against figures/divergence.csv."""
    path = folder / "figures/divergence.csv"
    if not path.exists():
        return
    rows = read(path)
    whole = rows[-1]["panel"] # the mean over tasks stands last; the only task where there is one
    reader, seen = Reader(browser, folder, address="#view=divergence"), 0
    page = {}
    for phase in reader.page.eval_on_selector_all("[data-control=phase] option", "all => all.map(one => one.value)") or [None]:
        if phase == "both":
            continue
        if phase:
            reader.choose("phase", phase)
        for cells in reader.table():
            if cells[-1] != "–":
                page.setdefault(cells[2], {}).setdefault(cells[3], []).append((float(cells[4]), float(cells[-1])))
    for row in rows:
        if row["panel"] != whole:
            continue
        means = [[sum(x) / len(own) for x in zip(*own)] for own in page.get(row["series"], {}).values()]
        own = min(means, key=lambda mean: abs(mean[0] - float(row["sparsity"])), default=None)
        check(own and abs(own[1] - float(row["value"])) <= 0.006 * float(row["value"]) + 1e-6, f"KL of {row['series']} at {row['sparsity']}: {own} and {row['value']}")
        seen += 1
    check(seen > 0, "no KL was compared")
    print(f"divergence: {seen} means equal to divergence.csv")


def check_leaderboard(browser, folder):
    """Every row, over all tasks and each of the study's groups, against tables/leaderboard.csv; sorting and finding."""
    rows, points, reasons = read(folder / "tables/leaderboard.csv"), read(folder / "tables/scores.csv"), set()
    reader, seen = Reader(browser, folder, address="#rows=each"), 0
    page = reader.page
    groups = page.eval_on_selector_all("[data-control=tasks] option", "all => all.map(one => one.value)") or ["all tasks"]
    for group in [name for name in groups if any(row["tasks"] == name for row in rows)]:
        if len(groups) > 1:
            reader.choose("tasks", group)
        shown = {(c[3], c[4], c[2], c[0]): c for c in reader.cells("#board")}
        own = [row for row in rows if row["tasks"] == group]
        check(len(own) == len(shown), f"{group}: {len(shown)} rows, {len(own)} in leaderboard.csv")
        for row in own:
            cells = shown.get((row["model"], row["tokens"], row["phase"], row["arm"]))
            check(cells is not None, f"leaderboard: no {row['model']} {row['arm']}")
            if not cells:
                continue
            for at, name, scale in ((5, "sparsity", 1), (8, "loss", 100), (6, "sure_up_to", 1)):
                value = cells[at].removesuffix(" %")
                none = value in ("none", "–", "a loss", "too few samples", "dense scores 0")
                holds = none if row[name] == "" else not none and abs(float(value) - scale * float(row[name])) < (0.051 if scale > 1 else 1e-4)
                check(holds, f"{group}: {row['model']} {row['tokens']} {row['arm']}: {name} {value} and {row[name]}")
            seen += 1
            if row["sure_up_to"] == "" and group == groups[0]:
                least = min((r for r in points if all(r[x] == row[x] for x in ("model", "tokens", "arm"))), key=lambda r: float(r["requested"]))
                dense = float(least["score"]) - float(least["difference"])
                sure_loss = -float(least["difference_high"]) > float(row["within"]) * dense
                why = "dense scores 0" if dense < 1e-6 else "a loss" if sure_loss else "too few samples"
                check(cells[6] == why, f"{row['model']} {row['tokens']} {row['arm']} is sure up to: {cells[6]}, not: {why}")
                reasons.add(why)
    page.set_viewport_size({"width": 1280, "height": 900})
    for table, head in (("#board", "samples"), ("#scores", "p (Holm)")):
        if page.locator(f"{table} th").count():
            page.locator(f"{table} table").scroll_into_view_if_needed()
            right = page.locator(f"{table} th", has_text=head).first.bounding_box()
            room = page.locator(f"{table} .scroll, {table} > .scroll").first.bounding_box()
            check(right["x"] + right["width"] <= room["x"] + room["width"], f"column {head} of {table} is out of sight at 1280 px")
    page.click("[data-board=sort-choosing]")
    order = page.eval_on_selector_all("#board tbody tr td:nth-child(12)", "all => all.map(one => parseFloat(one.textContent)).filter(x => !isNaN(x))")
    check(order == sorted(order, reverse=True), "sorting by the cost of choosing does not sort")
    name = rows[0]["arm"]
    page.fill("[data-board=find]", name)
    found = page.eval_on_selector_all("#board tbody tr td:first-child", "all => all.map(one => one.textContent)")
    check(found and all(name in one for one in found), f"finding {name} shows {set(found)}")
    page.close()
    print(f"leaderboard: {seen} rows equal to leaderboard.csv; not sure for: {', '.join(sorted(reasons)) or 'no reason'}")


def check_samples(browser, folder):
    """The list's counts and order, a sample's answers, the first word in which two differ, and how long a filter takes."""
    reader = Reader(browser, folder)
    page = reader.page
    total = int(page.inner_text("#sample-count").split(", of ")[1].split()[0])
    check(total == sum(int(row["samples"]) for row in read(folder / "tables/tasks.csv")), f"{total} samples are listed")
    took = 0
    for option in page.eval_on_selector_all("#sample-list select >> nth=0 >> option", "all => all.map(one => one.value)"):
        begun = reader.thread_time()
        page.evaluate("""option => {
            const select = document.querySelector('#sample-list select');
            select.value = option;
            select.dispatchEvent(new Event('change'));
            document.body.getBoundingClientRect(); // laid out, too
        }""", option)
        took = max(took, 1000 * (reader.thread_time() - begun))
    page.select_option("#sample-list select", "lost")
    page.locator("#sample-list select").last.select_option("loss")
    scores = page.eval_on_selector_all("#sample-list tbody tr", "all => all.map(row => parseFloat(row.cells[6].textContent) - parseFloat(row.cells[7].textContent))")
    check(all(x < 0 for x in scores) and scores == sorted(scores), f"worse than dense, largest loss first: {scores[:5]}")
    if scores:
        page.click("#sample-list tbody button >> nth=0")
        page.wait_for_selector("#sample .pair, #sample .warning", timeout=10000)
        check(page.is_visible("#sample .pair"), f"a sample does not open: {page.inner_text('#sample')[:200]}")
        texts = page.eval_on_selector_all("#sample .pair pre", "all => all.map(one => [one.textContent, one.querySelector('mark')?.textContent])")
        if len(texts) == 2 and texts[0][0] != texts[1][0]:
            before = [text.split(mark)[0] if mark and mark != "␃" else None for text, mark in texts]
            check(any(texts[i][1] for i in range(2)), "two answers differ, and nothing is marked")
            check(None in before or before[0].split() == before[1].split() or texts[0][1] != texts[1][1], "what is marked is not the first difference")
        again = page.locator("#sample", has_text="run it again").locator("p code").nth(1)
        check("--only" in again.inner_text() and again.bounding_box()["y"] < page.locator("#sample .pair").bounding_box()["y"],
              "the command that runs a sample again does not stand at its top")
        number = page.inner_text("#sample h3").split(":")[0].removeprefix("Sample ")
        for caption in page.eval_on_selector_all("#sample .maps .note", "all => all.map(one => one.textContent)"):
            whose = re.match(r"of sample (\d+)(, not of the one above)?;", caption)
            check(not whose or (whose[1] == number) == (whose[2] is None), f"under sample {number} a picture is {caption}")
            check(whose or "queries down" not in caption, f"a picture does not say whose it is: {caption}")
        if page.locator("#sample .maps").count():
            check("counted from 0" in page.inner_text("#sample .scale >> nth=0"), "heads and layers are counted from nothing that is said")
        url = page.url
        page.reload()
        page.wait_for_selector("#sample .pair", timeout=10000)
        check(page.url == url, "the address of a sample does not stay")
        if page.locator("#sample .maps canvas").count():
            page.locator("#sample .maps canvas").first.hover()
            check("layer" in page.inner_text("#sample .maps .note >> nth=0"), "a heat map says nothing where it is pointed at")
            page.mouse.move(0, 0)
            least = re.search(r": ([\d.]+) to", page.get_attribute("#sample .maps canvas >> nth=0", "aria-label"))[1]
            check(least in page.inner_text("#sample .maps .note >> nth=0"), "a heat map does not say what its least head keeps")
    page.close()
    print(f"samples: {total}, slowest filter {took:.0f} ms of the page's thread")


def check_use(browser, folder):
    """Pointer, keyboard, filters, address."""
    reader = Reader(browser, folder)
    page = reader.page
    page.locator(".panel svg").first.scroll_into_view_if_needed()
    mark = page.locator(".panel svg .spot").first.bounding_box()
    page.mouse.move(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    check(page.is_visible("#tip"), "pointing at a point shows nothing")
    tip = page.inner_text("#tip")
    check("score" in tip and "samples" in tip, f"the tip lacks its numbers: {tip}")
    unit = page.evaluate("[...document.querySelectorAll('.panel svg > text')].at(-1).textContent")
    check(unit in tip, f"cost is in '{unit}' on the axis, and not where a point is pointed at: {tip}")
    page.mouse.click(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    picked = page.inner_text("#chosen")
    keys = {row["cell"] for row in read(folder / "tables/tasks.csv")}
    shown = page.eval_on_selector_all("#chosen tbody tr td:nth-child(2)", "all => all.map(one => one.textContent)")
    check(shown and set(shown) <= keys, f"cells of a chosen point: {shown}")
    check("--only" in picked, "no command to run a cell again")
    page.keyboard.press("Escape")
    page.locator(".panel svg").first.focus()
    page.keyboard.press("ArrowRight")
    check("score" in page.inner_text("[aria-live=polite].hide"), "an arrow key says nothing")
    page.keyboard.press("Enter")
    before = reader.note()
    box = page.locator("[data-control=arm] input[type=checkbox]").first
    method = box.get_attribute("value")
    box.uncheck()
    check(reader.note() != before and "arm=" in page.url, "leaving a method out changes nothing")
    leaders = page.eval_on_selector_all("#board tbody tr td:first-child", "all => all.map(one => one.textContent)")
    check(leaders and method not in leaders, f"{method} is left out of the charts, and still leads: {leaders}")
    after = reader.note()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    check(reader.note() == after, "the address does not bring the view back")
    page.close()


def check_addresses(browser, folder):
    """An address opens where it points: in a window of its own, in a window that is open, and again after a reload."""
    key = read(folder / "tables/tasks.csv")[0]["cell"]
    for address, part in ((f"#phase=decode&colour=method&sample={key}.0", "sample"), ("#show=wrong", "samples"),
                          ("#within=7.5&rows=each", "leaderboard"), ("#y=loss", "charts"), (f"#rows=each&show=wrong&sample={key}.0", "sample")):
        for width in (1280, 400) if part == "sample" else (1280,):
            anew, open_already = Reader(browser, folder, width, address=address), Reader(browser, folder, width)
            open_already.page.goto(open_already.page.url + address)
            for reader, how in ((anew, "anew"), (open_already, "in an open window"), (anew, "again")):
                if how == "again":
                    reader.page.reload()
                if part == "sample":
                    reader.page.wait_for_selector("#sample .pair", timeout=10000)
                reader.page.wait_for_load_state("load")
                reader.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
                top = reader.page.evaluate("part => document.getElementById(part).getBoundingClientRect().top", part)
                check(0 <= top <= 40, f"{address} opened {how} at {width} px: {part} stands {top:.0f} px below the window's top")
            anew.page.close()
            open_already.page.close()
    reader = Reader(browser, folder, address="#sample=of-another-report.0")
    check("of-another-report" in reader.page.inner_text("#sample"), "a sample of another report is passed over in silence")
    reader.page.close()
    print("addresses: open where they point")


def check_access(browser, folder, screenshots):
    for width in (1200, 400):
        for scheme in ("light", "dark"):
            reader = Reader(browser, folder, width, scheme, "#phase=decode")
            right = reader.page.evaluate("Math.max(...[...document.querySelectorAll('.panel svg > text')].map(one => one.getBoundingClientRect().right))")
            check(right <= width, f"at {width} px an axis' label ends at {right:.0f}")
            for view in reader.page.eval_on_selector_all("[data-control^=view-]", "all => all.map(one => one.dataset.control)"):
                reader.page.click(f"[data-control={view}]")
                if screenshots:
                    reader.page.evaluate("document.getElementById('charts').scrollIntoView()")
                    reader.page.screenshot(path=f"{screenshots}/{view}-{width}-{scheme}.png")
            found = Axe().run(reader.page)
            for fault in found.response["violations"]:
                check(False, f"axe at {width} px, {scheme}: {fault['id']}: {fault['nodes'][0]['html'][:160]} ({len(fault['nodes'])})")
            wide = reader.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            check(wide <= 0, f"at {width} px the page is {wide} px too wide")
            reader.page.close()
    print("axe: 1200 and 400 px, light and dark")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        reader = Reader(browser, arguments.folder)
        print(f"{(arguments.folder / 'index.html').stat().st_size / 1e6:.1f} MB, open after {reader.seconds:.2f} s of the page's thread")
        check_points(browser, arguments.folder)
        check_costs(browser, arguments.folder)
        check_divergence(browser, arguments.folder)
        check_leaderboard(browser, arguments.folder)
        check_samples(browser, arguments.folder)
        check_use(browser, arguments.folder)
        check_addresses(browser, arguments.folder)
        check_access(browser, arguments.folder, arguments.screenshots)
        browser.close()
    print(f"{len(failures)} checks failed" if failures else "ok")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
