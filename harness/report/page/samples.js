/* Single samples: a list that can be filtered, and what was asked, expected and answered, two cells beside each other. */

/* ---- The list: three columns over all samples, so that a filter of a hundred thousand is a loop over numbers ---- */

const unparsed_flag = 1, cut_flag = 2, differs_flag = 4;

const all_samples = (() => {
    const total = data.samples.rows.reduce((sum, row) => sum + row[1].length, 0);
    const list = {cell: new Int32Array(total), row: new Int32Array(total), score: new Float32Array(total), dense: new Float32Array(total), flags: new Uint8Array(total), count: total};
    let at = 0;
    cells.forEach((cell, c) => {
        const [numbers, scores, flags] = data.samples.rows[c], dense = denseCell(cell);
        cell.first = at;
        cell.numbers = typeof numbers === "number" ? null : numbers; /* null: 0, 1, 2, … */
        const own = dense && dense !== cell ? data.samples.rows[dense.index] : null, place = own && typeof own[0] !== "number" ? new Map(own[0].map((n, i) => [n, i])) : null;
        scores.forEach((score, i) => {
            const number = cell.numbers ? cell.numbers[i] : i, there = !own ? undefined : place ? place.get(number) : number;
            list.cell[at] = c;
            list.row[at] = i;
            list.score[at] = score;
            list.dense[at] = own && there !== undefined && there < own[1].length ? own[1][there] : NaN;
            list.flags[at++] = flags.charCodeAt(i) - 48;
        });
    });
    return list;
})();

function denseCell(cell) {
    const dense = denseOf(points[cell.point]);
    return dense ? dense.cell[cell.task] : null;
}

const numberOf = (cell, row) => cell.numbers ? cell.numbers[row] : row;

const sample_filters = {
    all: ["all", () => true],
    lost: ["worse than dense", (list, i) => list.score[i] < list.dense[i]],
    gained: ["better than dense", (list, i) => list.score[i] > list.dense[i]],
    differs: ["another answer than dense", (list, i) => (list.flags[i] & differs_flag) !== 0],
    wrong: ["not wholly right", (list, i) => list.score[i] < 1],
    unparsed: ["no answer found", (list, i) => (list.flags[i] & unparsed_flag) !== 0],
    cut: ["cut off", (list, i) => (list.flags[i] & cut_flag) !== 0],
};
const sample_orders = {
    grid: ["as they stand", null],
    loss: ["largest loss first", (list, i) => Number.isNaN(list.dense[i]) ? 9 : list.score[i] - list.dense[i]],
    score: ["lowest score first", (list, i) => list.score[i]],
};

/* Which cells the choices of the charts, or a point that was clicked, leave. */
function cellsInView() {
    const group = groupNamed(state.tasks), kept = new Uint8Array(cells.length);
    cells.forEach((cell, c) => {
        const point = points[cell.point], arm = data.arms[point.arm];
        kept[c] = state.of ? state.of.split(",").includes(String(cell.point))
            : (point.arm === 0 || (arm.phase === state.phase && chosen("arm", arm.label))) && group.tasks.includes(cell.task) &&
              chosen("model", data.models[point.model].label) && chosen("length", data.lengths[point.length]);
        if (state.of && !group.tasks.includes(cell.task)) kept[c] = 0;
        if (state.asked && requested(point) !== state.asked) kept[c] = 0;
    });
    return kept;
}

function filterSamples() {
    const kept = cellsInView(), [, passes] = sample_filters[state.show] || sample_filters.all, [, key] = sample_orders[state.order] || sample_orders.grid;
    const found = new Int32Array(all_samples.count);
    let n = 0;
    for (let i = 0; i < all_samples.count; i++) if (kept[all_samples.cell[i]] && passes(all_samples, i)) found[n++] = i;
    const list = found.subarray(0, n);
    if (key) {
        const by = new Float32Array(all_samples.count);
        for (const i of list) by[i] = key(all_samples, i);
        list.sort((a, b) => by[a] - by[b] || a - b);
    }
    return list;
}

const page_rows = 20;

function drawSampleList() {
    const list = filterSamples(), pages = Math.max(1, Math.ceil(list.length / page_rows));
    state.page = Math.min(Math.max(1, state.page), pages);
    const set = key => value => { state[key] = value; state.page = 1; stateWrite(); drawSampleList(); };
    const turn = by => () => { state.page += by; stateWrite(); drawSampleList(); };
    const host = document.getElementById("sample-list"), active = document.activeElement?.dataset.turn;
    const rows = [...list.subarray((state.page - 1) * page_rows, state.page * page_rows)].map(i => {
        const cell = cells[all_samples.cell[i]], point = points[cell.point], name = `${cell.key}.${numberOf(cell, all_samples.row[i])}`, flags = all_samples.flags[i];
        const open = element("button", {type: "button", onclick: () => openSample(name)}, `open ${numberOf(cell, all_samples.row[i])}`);
        const row = element("tr", {"data-row": i, onclick: event => { if (event.target !== open) openSample(name); }, "aria-current": state.sample === name ? "true" : null},
            ...[open, data.models[point.model].label, String(data.lengths[point.length]), data.tasks[cell.task].label, armName(point), requested(point),
                fixed(all_samples.score[i], 3), fixed(all_samples.dense[i], 3),
                [flags & unparsed_flag ? "no answer" : "", flags & cut_flag ? "cut off" : "", flags & differs_flag ? "differs" : ""].filter(text => text).join(", ")]
                .map((value, column) => element("td", {class: [0, 1, 3, 4, 8].includes(column) ? "l" : null}, value)));
        return row;
    });
    const table = tableOf(["sample", "model", "tokens", "task", "method", "requested", "score", "dense", "remarks"], [], [0, 1, 3, 4, 8], null);
    table.tBodies[0].append(...rows);
    host.replaceChildren(
        element("div", {class: "controls"},
            chooser("show", Object.entries(sample_filters).map(([name, [text]]) => [name, text]), state.show, set("show")),
            chooser("sparsity asked for", [["", "all"], ...["0", ...levelsOf(state.phase)].map(level => [level, level === "0" ? "dense" : level])], state.asked, set("asked")),
            chooser("order", Object.entries(sample_orders).map(([name, [text]]) => [name, text]), state.order, set("order")),
            state.of ? element("button", {type: "button", onclick: () => set("of")("")}, "show all that is chosen above, not only the point that was clicked") : null),
        element("p", {class: "note", id: "sample-count", "aria-live": "polite"}, `${list.length} samples of ${state.of ? "the point that was clicked" : "what is chosen above"}, of ${all_samples.count} in all`),
        element("div", {class: "scroll", tabindex: 0, role: "group", "aria-label": "samples"}, table),
        element("div", {class: "controls"}, element("button", {type: "button", "data-turn": "back", disabled: state.page <= 1, onclick: turn(-1)}, "previous"),
            element("span", {class: "note"}, `page ${state.page} of ${pages}`),
            element("button", {type: "button", "data-turn": "on", disabled: state.page >= pages, onclick: turn(1)}, "next")));
    if (active) host.querySelector(`[data-turn=${active}]`).focus();
}

/* ---- Pieces: inside the page, or files beside it ---- */

const pieces = new Map(), waiting = new Map();

window.frontier_sample = (name, value) => { pieces.set(name, value); waiting.get(name)?.(); };

function piece(name) {
    if (pieces.has(name)) return Promise.resolve(pieces.get(name));
    const inside = document.getElementById(name);
    if (inside) {
        pieces.set(name, JSON.parse(inside.textContent));
        return Promise.resolve(pieces.get(name));
    }
    return new Promise((resolve, reject) => {
        waiting.set(name, () => resolve(pieces.get(name)));
        document.head.append(element("script", {src: `samples/${name}.js`,
            onerror: () => reject(new Error(`samples/${name}.js is not beside this page: copy the folder samples/ with it`))}));
    });
}

/* ---- One sample ---- */

function openSample(name) {
    state.sample = name;
    stateWrite();
    drawSampleList();
    drawSample().then(() => document.getElementById("sample").scrollIntoView({block: "nearest"}));
}

const cellOfKey = key => cells.find(cell => cell.key === key);

/* How many words two answers begin with alike, and where the next begins in each; null: they are the same. */
function firstDifference(a, b) {
    if (a === b) return null;
    const words = text => [...text.matchAll(/\s*\S+|\s+$/g)];
    const [own, other] = [words(a), words(b)];
    let n = 0;
    while (n < own.length && n < other.length && own[n][0] === other[n][0]) n++;
    return {word: n, at: [own[n]?.index ?? a.length, other[n]?.index ?? b.length]};
}

function answerOf(title, text, from, score, tokens) {
    const body = element("pre", {tabindex: 0}), end = from === null ? null : text.slice(from).match(/^\s*\S*/)[0].length + from;
    if (from === null) body.append(text);
    else body.append(text.slice(0, from), element("mark", {}, text.slice(from, end) || "␃"), text.slice(end));
    return element("div", {}, element("h4", {}, title), element("div", {class: "note"}, `score ${fixed(score, 3)}, ${tokens[1]} tokens of answer to a prompt of ${tokens[0]}`), body);
}

function promptOf(setting, row) {
    const prompt = row >= 0 ? setting.prompt[row] : null;
    if (!prompt) return element("p", {class: "note"}, `The prompt is not shown: ${setting.why}. \`frontier show\` makes it again.`);
    const [head, left, tail] = prompt, cut = head.length > 1400 && left === undefined;
    const parts = left !== undefined ? [head, `… ${left} bytes of context are left out here …`, tail] : cut ? [head.slice(0, 500), head.slice(500, -500), head.slice(-500)] : [head];
    if (parts.length === 1) return element("pre", {tabindex: 0}, head);
    const folded = left === undefined ? element("details", {}, element("summary", {}, `${parts[1].length} characters of context`), element("pre", {tabindex: 0}, parts[1])) : element("p", {class: "note"}, parts[1]);
    return element("div", {}, element("pre", {tabindex: 0}, parts[0]), folded, element("pre", {tabindex: 0}, parts[2]));
}

/* Layers down, heads across; pale: 0, strong: 1. */
function heatMap(title, rows) {
    const size = Math.max(4, Math.min(22, Math.floor(320 / rows[0].length))), values = rows.flat().filter(known);
    const canvas = element("canvas", {width: rows[0].length * size, height: rows.length * size, role: "img", tabindex: 0,
        "aria-label": `${title} by layer and head: ${fixed(Math.min(...values), 3)} to ${fixed(Math.max(...values), 3)}, mean ${fixed(mean(values, value => value), 3)}`});
    const least = Math.min(...values), layer_of = rows.findIndex(row => row.includes(least)), alike = Math.max(...values) - least < 5e-4;
    const whole = alike ? `${fixed(least, 3)} in every head` : `mean ${fixed(mean(values, value => value), 3)}; least: layer ${layer_of}, head ${rows[layer_of].indexOf(least)}: ${fixed(least, 3)}`;
    const pen = canvas.getContext("2d"), says = element("div", {class: "note", "aria-live": "polite"}, whole);
    rows.forEach((row, layer) => row.forEach((value, head) => { pen.fillStyle = shade(value); pen.fillRect(head * size, layer * size, size, size); }));
    let at = [0, -1]; /* layer and head that the arrow keys are at */
    const say = (layer, head) => {
        if (rows[layer]?.[head] === undefined) return;
        at = [layer, head];
        says.textContent = `layer ${layer}, head ${head}: ${fixed(rows[layer][head], 3)}`;
    };
    canvas.addEventListener("pointermove", event => {
        const box = canvas.getBoundingClientRect();
        say(Math.floor((event.clientY - box.top) / box.height * rows.length), Math.floor((event.clientX - box.left) / box.width * rows[0].length));
    });
    canvas.addEventListener("keydown", event => {
        const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
        if (!step) return;
        say(at[0] + step[0], Math.max(0, at[1] + step[1]));
        event.preventDefault();
    });
    canvas.addEventListener("pointerleave", () => { says.textContent = whole; });
    return element("div", {}, element("h4", {}, title), canvas, says);
}

/* Zero is pale yellow, one dark blue; nothing there is grey. */
const shade = value => known(value) ? d3.interpolateRgb("#fff6c9", "#08306b")(Math.sqrt(Math.max(0, Math.min(1, value)))) : "#8a8a8a";

/* What the colours of maps and pictures say. */
function colourScale() {
    const canvas = element("canvas", {width: 101, height: 12, role: "img", "aria-label": "colours from 0, pale, to 1, dark"}), pen = canvas.getContext("2d");
    for (let x = 0; x <= 100; x++) { pen.fillStyle = shade(x / 100); pen.fillRect(x, 0, 1, 12); }
    return element("p", {class: "note scale"}, "Layers down and heads across, both counted from 0. Colour: 0 ", canvas, " 1; grey: not recorded, as in layers with a sliding window.");
}

/* `number`: the sample that it stands under. */
function pictureOf(title, picture, number) {
    const canvas = element("canvas", {width: picture.side, height: picture.side, style: "width:256px", role: "img",
        "aria-label": `${title}: which keys (across) the queries (down) read, layer ${picture.layer}, head ${picture.head}`});
    const pen = canvas.getContext("2d");
    let at = 0;
    for (const [, letter, count] of picture.runs.matchAll(/([A-Za-z.])(\d*)/g)) {
        const code = letter.charCodeAt(0), level = letter === "." ? null : ((code >= 97 ? code - 71 : code - 65) / 51) ** 2;
        pen.fillStyle = shade(level);
        for (let end = at + Number(count || 1); at < end; at++) pen.fillRect(at % picture.side, Math.floor(at / picture.side), 1, 1);
    }
    return element("div", {}, element("h4", {}, title), canvas,
        element("div", {class: "note"}, `of sample ${picture.sample}${picture.sample === number ? "" : ", not of the one above"}; layer ${picture.layer}, head ${picture.head}; ${picture.queries} queries down, ${picture.keys} keys across; grey: nothing was asked there`));
}

/* The expected answers, stored as a JSON list. */
function goldText(gold) {
    try {
        return JSON.parse(gold).join("; ");
    } catch {
        return gold;
    }
}

const cellTitle = cell => { const point = points[cell.point]; return point.arm ? `${data.arms[point.arm].label} at ${requested(point)}` : armName(point); };

async function drawSample() {
    const host = document.getElementById("sample"), [key, number] = state.sample.split("."), cell = cellOfKey(key);
    if (!cell) { host.replaceChildren(...(state.sample ? [element("p", {class: "warning"}, number === undefined
        ? `The address asks for the sample “${state.sample}”, which is none: a cell's key, a point and the sample's number name one.` : `This report has no cell ${key}.`)] : [])); return; }
    const point = points[cell.point], row = cell.numbers ? cell.numbers.indexOf(Number(number)) : Number(number);
    const beside = points.filter(other => samePlace(other, point) && other !== point && other.cell[cell.task]).map(other => other.cell[cell.task]);
    const against = beside.find(other => other.key === state.against) || denseCell(cell), other = against && against !== cell ? against : null;
    try {
        const [mine, theirs, setting] = await Promise.all([piece(`cell-${cell.key}`), other ? piece(`cell-${other.key}`) : null,
            piece(`setting-${point.model}-${point.length}-${cell.task}`)]);
        const otherRow = other ? other.numbers ? other.numbers.indexOf(Number(number)) : Number(number) : -1, answer = mine.answers[row];
        const theirAnswer = other && otherRow >= 0 ? theirs.answers[otherRow] : undefined;
        const found = theirAnswer === undefined || answer === undefined ? null : firstDifference(answer, theirAnswer), asked = setting.number.indexOf(Number(number));
        if (answer === undefined) throw new Error(`cell ${key} has no sample ${number}`);
        const maps = of => ["prefill", "decode"].flatMap(phase => ["density", "recall"].filter(what => of[`${phase}_${what}`]).map(what => heatMap(`${phase} ${what === "recall" ? "attention mass kept" : "density"}`, of[`${phase}_${what}`])));
        const pictures = of => ["prefill", "decode"].filter(phase => of[phase + "_picture"]).map(phase => pictureOf(`what ${phase} read`, of[phase + "_picture"], Number(number)));
        const mapped = (own, of) => { /* of a cell that has any */
            const all = [...maps(of), ...pictures(of)];
            return all.length ? [element("h4", {}, `${cellTitle(own)}: maps are means over the cell's samples`), colourScale(), element("div", {class: "maps"}, ...all)] : [];
        };
        const gold = asked >= 0 ? setting.gold[asked] : "";
        host.replaceChildren(
            element("h3", {tabindex: -1}, `Sample ${number}: ${data.tasks[cell.task].label}, ${nameOf(point)}`),
            element("p", {class: "note"}, "Cell ", element("code", {}, cell.key), "; run it again: ", element("code", {}, repeat(cell.key))),
            element("div", {class: "controls"}, chooser("beside", beside.map(own => [own.key, cellTitle(own)]), other?.key, value => { state.against = value; stateWrite(); drawSample(); })),
            element("p", {}, "Expected: ", element("code", {id: "gold"}, goldText(gold))),
            element("p", {class: "note", id: "difference"}, theirAnswer === undefined ? "There is no other cell with this sample." : found ? `The answers part at word ${found.word + 1}, marked.` : "Both answer the same."),
            element("div", {class: "pair"}, answerOf(cellTitle(cell), answer, found && found.at[0], data.samples.rows[cell.index][1][row], mine.tokens[row]),
                theirAnswer === undefined ? null : answerOf(cellTitle(other), theirAnswer, found && found.at[1], data.samples.rows[other.index][1][otherRow], theirs.tokens[otherRow])),
            element("h4", {}, "Asked"), promptOf(setting, asked),
            ...mapped(cell, mine), ...(other ? mapped(other, theirs) : []));
    } catch (error) {
        host.replaceChildren(element("p", {class: "warning"}, error.message));
    }
}

/* From a point of a chart. */
function showSamplesOf(spot) {
    state.of = String(spot.point.index);
    state.asked = state.sample = ""; /* of what was looked at before */
    state.page = 1;
    stateWrite();
    drawSampleList();
    drawSample();
    document.getElementById("chosen").append(element("p", {}, element("a", {href: "#samples", onclick: event => { event.preventDefault(); document.getElementById("samples").scrollIntoView(); }},
        `Its ${spot.samples} samples`)));
}
