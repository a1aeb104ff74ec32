/* The charts: what is chosen, and a panel for each length, model or phase. */

const views = {
    frontier: {label: "Frontier", x: "cost", y: "score", panel: "length", lines: true, pareto: true,
               says: "Score against cost: one point a model, method and sparsity; the broad line is the Pareto frontier of what is shown " +
                     "(costs within 1 % count as equal)."},
    curves: {label: "Curves", x: "sparsity", y: "loss", panel: "setting", lines: true, says: "What sparsity costs, method by method."},
    lengths: {label: "Lengths", x: "length", y: "loss", panel: "model", lines: true, level: true,
              says: "What one sparsity costs at each length."},
    recall: {label: "Recall", x: "recall", y: "loss", panel: "length", says: "Share of dense's attention mass that was kept, against what was lost."},
    divergence: {label: "Divergence", x: "sparsity", y: "kl", panel: "setting", lines: true,
                 says: "How far predictions are from the dense model's after the same tokens: of a method of prefill at rows of the prompt, of one of decode along what dense generates."},
    choosing: {label: "Choosing", x: "sparsity", y: "choosing", panel: "setting", lines: true, says: "Share of executed FLOPs that went into choosing what to compute."},
};
const costs = {paper: "paper: formula of The Sparse Frontier", exact: "exact: as executed", seconds: "seconds, measured", bytes: "bytes, executed"};
const cost_units = {
    paper: {prefill: "FLOP, study's formula", decode: "elements a step reads, study's formula"},
    exact: {prefill: "FLOP, as executed", decode: "elements a step reads, as executed"},
    seconds: {prefill: "seconds a prefill, batch 1", decode: "seconds a sample's decode, batch 1"},
    bytes: {prefill: "bytes a prefill, batch 1", decode: "bytes a token, batch 1"},
};
/* Colour says the model where it was asked to, or where a panel has several of them; else the method. */
const byModel = () => state.colour === "model" || (state.colour === "auto" && data.models.length > 1 && (state.model || data.models).length > 1 && views[state.view].panel === "length");
const batched = () => state.cost === "paper" || state.cost === "exact";

/* What a cost is counted in: of a batch, what its prefills do together, or one decode step, which makes a token of each sequence. */
const costUnit = of => (state.phase === "both" ? "prefill: " : "") +
    (batched() && of === "decode" ? cost_units[state.cost].decode.replace("a step", `a step of ${state.batch} token${state.batch > 1 ? "s" : ""}`)
        : cost_units[state.cost][of] + (batched() ? `, batch ${state.batch}` : ""));
const axisLabel = (name, of) => name === "cost" ? costUnit(of) : measures[name].label;

/* ---- What is shown ---- */

const armsOf = phase => data.arms.map((arm, i) => i).filter(i => data.arms[i].phase === phase);

function shownSpots() {
    const group = groupNamed(state.tasks), view = views[state.view];
    return points.filter(point =>
        (point.arm === 0 || (data.arms[point.arm].phase === state.phase && chosen("arm", data.arms[point.arm].label) &&
                             (!view.level || requested(point) === state.level))) &&
        chosen("model", data.models[point.model].label) && chosen("length", data.lengths[point.length]))
        .map(point => spotOf(point, group, state.phase, state.cost, state.batch)).filter(spot => spot);
}

/* Cheapest first, each better than all that are cheaper. */
function paretoOf(spots) {
    const best = [];
    for (const spot of [...spots].sort((a, b) => a.cost - b.cost || b.score - a.score)) {
        const last = best[best.length - 1];
        if (last && spot.score <= last.score) continue;
        if (last && spot.cost < 1.01 * last.cost) best.pop();
        best.push(spot);
    }
    return best;
}

function panelsOf(spots, view) {
    const key = {length: spot => spot.point.length, model: spot => spot.point.model,
                 setting: spot => spot.point.model * 1000 + spot.point.length}[view.panel];
    const title = {length: point => data.lengths[point.length] + " tokens", model: point => data.models[point.model].label,
                   setting: point => `${data.models[point.model].label}, ${data.lengths[point.length]} tokens`}[view.panel];
    return [...new Set(spots.map(key))].sort((a, b) => a - b)
        .map(own => spots.filter(spot => key(spot) === own)).map(list => ({title: title(list[0].point), spots: list}));
}

/* A line joins the points of one model and method, and of one length unless it runs over them. */
function linesThrough(spots, view, colour) {
    if (!view.lines) return [];
    const lines = new Map();
    for (const spot of spots) {
        if (spot.point.arm === 0) continue;
        const key = [spot.point.model, spot.point.arm, view.x === "length" ? "" : spot.point.length].join();
        if (!lines.has(key)) lines.set(key, []);
        lines.get(key).push(spot);
    }
    const along = view.x === "length" ? "length" : "sparsity";
    return [...lines.values()].map(list => {
        return {colour: colour(list[0]), spots: [...list].sort((a, b) => a[along] - b[along])};
    });
}

/* ---- Controls ---- */

/* After a choice: charts and samples follow it. */
function redraw() { state.page = 1; stateWrite(); drawExplorer(); drawLeaderboard(); drawSampleList(); }

const setter = key => value => { state[key] = value; redraw(); };

/* Lists that stand open: all at first where there is room for them. */
const open_lists = new Set(innerWidth > 700 ? ["model", "length", "arm"] : []);

/* Boxes to tick, one an item; `key` finds a list again after it was drawn anew. */
function listOf(legend, list, items, text, mark) {
    const many = items.length > 12;
    const boxes = items.map(item => element("label", {}, element("input", {type: "checkbox", value: item, checked: chosen(list, item), onchange: apply}),
        mark ? mark(item) : null, text(item)));
    function apply() { choose(list, items, own => boxes.some(box => box.firstChild.checked && box.firstChild.value === own)); redraw(); }
    /* Those that are found, and no others; without a search, all. */
    const only = () => { boxes.forEach(box => { box.firstChild.checked = box.style.display !== "none"; }); apply(); };
    const none = () => boxes.forEach(box => { box.firstChild.checked = false; }); /* drawn once one is ticked */
    const find = event => boxes.forEach(box => { box.style.display = box.textContent.toLowerCase().includes(event.target.value.toLowerCase()) ? "" : "none"; });
    const buttons = items.length > 3 ? element("div", {class: "controls"},
        many ? element("input", {type: "search", "aria-label": `find in ${legend}`, placeholder: "find…", oninput: find}) : null,
        element("button", {type: "button", onclick: only}, many ? "only those found" : "tick all"),
        element("button", {type: "button", onclick: none}, "untick, to choose anew")) : null;
    const count = items.filter(item => chosen(list, item)).length;
    return element("details", {class: "field", open: open_lists.has(list), "data-control": list,
        ontoggle: event => event.target.open ? open_lists.add(list) : open_lists.delete(list)},
        element("summary", {}, `${legend}: ${count === items.length ? `all ${count}` : `${count} of ${items.length}`}`),
        element("fieldset", {}, element("legend", {class: "hide"}, legend), buttons,
            element("div", {class: "list", ...(many ? {tabindex: 0, role: "group", "aria-label": legend} : {})}, ...boxes)));
}

function drawControls() {
    const view = views[state.view], host = document.getElementById("controls");
    const has = name => cells.some(cell => known(cell["prefill_" + name]) || known(cell["decode_" + name]));
    const offered = Object.entries(views).filter(([name]) => (name !== "recall" || has("recall")) && (name !== "divergence" || has("kl")) && (name !== "lengths" || data.lengths.length > 1));
    const active = document.activeElement, control = active && active.closest("[data-control]");
    const focused = control && {control: control.dataset.control, value: active.value}; /* what is drawn anew keeps the keyboard's place */
    const kept = name => node => { node.dataset.control = name; return node; };
    host.replaceChildren(
        element("div", {class: "controls", role: "group", "aria-label": "which chart"}, ...offered.map(([name, own]) => kept("view-" + name)(
            element("button", {type: "button", "aria-pressed": String(name === state.view), onclick: () => { state.view = name; state.y = own.y; redraw(); }}, own.label)))),
        element("div", {class: "controls"},
            phases.length > 1 ? kept("phase")(chooser("sparse in", phases.map(phase => [phase, phase === "both" ? "both phases" : phase]), state.phase, setter("phase"))) : null,
            groups.length > 1 ? kept("tasks")(chooser("tasks", groups.map(group => [group.label, groupText(group)]), state.tasks, setter("tasks"))) : null,
            kept("y")(chooser("up", ["score", "loss", "difference", "recall", "kl", "agreement", "choosing", "seconds", "bytes"].filter(name => !["recall", "kl", "agreement"].includes(name) || has(name))
                .map(name => [name, measures[name].label]), state.y, setter("y"))),
            kept("cost")(chooser("cost model", Object.entries(costs), state.cost, setter("cost"))),
            batched() ? kept("batch")(element("label", {}, "batch", element("input", {type: "number", min: 1, max: 65536, value: state.batch,
                onchange: event => { state.batch = Math.max(1, Math.round(Number(event.target.value)) || data.batch); redraw(); }}))) : null,
            view.level ? kept("level")(chooser("sparsity asked for", levelsOf(state.phase).map(level => [level, level]), state.level, setter("level"))) : null,
            data.models.length > 1 && data.arms.length > 2 ? kept("colour")(chooser("colour says", [["auto", "what a panel mixes"], ["method", "method"], ["model", "model"]], state.colour, setter("colour"))) : null),
        element("div", {class: "lists"},
            data.models.length > 1 ? listOf("models", "model", data.models.map(model => model.label), label => label, modelSwatch) : null,
            data.lengths.length > 1 ? listOf("lengths", "length", data.lengths.map(String), length => length + " tokens") : null,
            listOf(`methods in ${state.phase === "both" ? "both phases" : state.phase}`, "arm", armsOf(state.phase).map(arm => data.arms[arm].label),
                label => label, armSwatch)));
    const again = focused && host.querySelector(`[data-control="${CSS.escape(focused.control)}"]`);
    if (again) (again.matches("button") ? again : [...again.querySelectorAll("input,select,summary")].find(own => own.value === focused.value) || again).focus();
}

const modelSwatch = label => !byModel() ? null
    : element("span", {"aria-hidden": "true", style: `color:${colourOf(data.models.findIndex(model => model.label === label))}`}, "■");
const armSwatch = label => swatch(data.arms.findIndex(arm => arm.label === label && arm.phase === state.phase), byModel() ? "var(--ink)" : null);

/* ---- Drawing ---- */

function drawExplorer() {
    if (!phases.includes(state.phase)) state.phase = phases[0] || "prefill";
    if (!(state.view in views)) state.view = "frontier";
    if (!(state.y in measures)) state.y = views[state.view].y;
    if (!(state.cost in costs)) state.cost = "paper";
    const levels = levelsOf(state.phase), view = {...views[state.view], y: state.y};
    if (!levels.includes(state.level)) state.level = state_defaults.level = levels[Math.min(levels.length - 1, Math.floor(levels.length * .6))] || "";
    if (state.arm && !armsOf(state.phase).some(arm => chosen("arm", data.arms[arm].label))) state.arm = null; /* of the other phase */
    drawControls();
    const xName = view.x === "cost" ? "cost" : view.x, yName = view.y;
    const measurable = shownSpots().filter(spot => known(spot[xName]) && known(spot[yName]) &&
        (yName !== "kl" || spot.point.arm !== 0)); /* dense's KL from itself, 0, has no place on a logarithmic axis */
    const tasks = Math.max(0, ...measurable.map(spot => spot.tasks)), shown = measurable.filter(spot => spot.tasks === tasks); /* means over other tasks are no match */
    const left_out = measurable.length - shown.length;
    const colour = spot => byModel() ? colourOf(spot.point.model) : markOf(spot.point.arm).colour;
    const panels = panelsOf(shown, view), host = document.getElementById("panels");
    const columns = Math.max(1, Math.min(panels.length, Math.floor(host.clientWidth / 352)));
    const most = Math.max(0, ...panels.map(panel => panel.spots.length)), bars = most <= 150;
    host.style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${panels.length === 1 ? "900px" : "1fr"}))`;
    host.replaceChildren(...panels.map(panel => drawPanel(panel.title, {
        spots: panel.spots, all: shown, x: measures[xName], y: measures[yName], xName, yName, bars, shareX: view.x !== "cost",
        xLabel: axisLabel(xName, measured(state.phase)), width: Math.min(900, host.clientWidth / columns - 8), colour,
        lines: linesThrough(panel.spots, view, colour), pareto: view.pareto && yName === "score" ? paretoOf(panel.spots) : null}, pickSpot)));
    const measure = measures[yName];
    document.getElementById("chart-note").textContent = panels.length
        ? `${view.says} Up: ${measure.label}. ${measure.low ? bars ? "Bars: 95 % intervals, as in the tables." : `Bars are left out, with ${most} points a panel: a point's own is shown when it is pointed at.` : "No interval is computed for this measure."} ${shown.some(spot => spot.point.arm === 0) ? "The star is dense. " : ""}${shown.length} points.${[xName, yName].includes("seconds") || (xName === "cost" && state.cost === "seconds") ? " Lanes that decode together share the time of their steps: in decode, seconds tell methods apart only where each ran alone." : ""}${left_out ? ` Left out: ${left_out} points that lack a task that the others have.` : ""}`
        : "Nothing was run of what is chosen, or this was not measured.";
    drawTable(shown, xName, yName);
}

let table_rows = 400; /* of the points as a table, until all are asked for */

function drawTable(shown, xName, yName) {
    const host = document.getElementById("chart-table"), extra = ["score", "difference", "kl"].includes(yName) ? null : measures[yName]; /* what is drawn stands there, too */
    const head = ["model", "tokens", "method", "requested", "sparsity", axisLabel("cost", measured(state.phase)), "score", "95 %", "against dense", "95 %", "samples", "cost of dense's", ...(extra ? [extra.label] : []), ...(shown.some(spot => known(spot.kl)) ? ["KL"] : [])];
    const row = spot => [data.models[spot.point.model].label, String(spot.length), armName(spot.point), requested(spot.point), fixed(spot.sparsity, 3), prefixed(spot.cost),
        fixed(spot.score, 3), interval(spot.low, spot.high, value => fixed(value, 3)), signed(spot.difference, 3), interval(spot.difference_low, spot.difference_high, value => signed(value, 3)), String(spot.samples), percent(ofDense(spot)), ...(extra ? [extra.write(spot[yName])] : []), ...(head.includes("KL") ? [measures.kl.write(spot.point.arm ? spot.kl : null)] : [])];
    if (!host.open) { host.querySelector("div").replaceChildren(); return; }
    host.querySelector("div").replaceChildren(tableOf(head, shown.slice(0, table_rows).map(row), [0, 2],
        `${shown.length} points over ${state.tasks}` + (shown.length > table_rows ? `; the first ${table_rows} are listed` : "")),
        ...(shown.length > table_rows ? [element("button", {type: "button", "data-control": "list-all",
            onclick: () => { table_rows = Infinity; drawTable(shown, xName, yName); }}, `list all ${shown.length}`)] : []));
}

/* A point that was clicked: its numbers, its cells with the commands that run them again, its samples. */
function pickSpot(spot) {
    const [name, ...lines] = linesOf(spot);
    document.getElementById("chosen").replaceChildren(element("h3", {}, name), ...lines.map(line => element("div", {}, line)),
        element("div", {class: "scroll", tabindex: 0, role: "group", "aria-label": "cells of this point"}, tableOf(["task", "cell", "score", "samples", "run it again"], spot.cells.map(cell =>
            [data.tasks[cell.task].label, element("code", {}, cell.key), fixed(cell.score, 3), String(cell.samples), element("code", {}, repeat(cell.key))]), [0, 1, 4])));
    showSamplesOf(spot);
}
