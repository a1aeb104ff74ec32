/* How sparse each method may go for a loss of at most so many per cent of dense, by the group of tasks, models and lengths that
 * are chosen. The rule is report/leaderboard.c's. */

/* The sparsest point up to which the loss stays within, and up to which its whole interval does. */
function leaderOf(list, within) {
    let best = null, sure = null, mean_holds = true, all_holds = true;
    for (const spot of list) {
        const most = within * spot.dense + 1e-9; /* a loss of just so much, whatever rounding made of it, is within */
        mean_holds = mean_holds && spot.dense > 0 && -spot.difference <= most;
        all_holds = all_holds && spot.dense > 0 && -spot.difference_low <= most;
        if (all_holds) sure = spot;
        if (mean_holds) best = spot;
    }
    return {best, sure};
}

/* Why not even the least sparsity is sure: what was lost there is no chance, or may be one. */
function doubtOf(spot, within) {
    if (!(spot.dense > 0)) return "dense scores 0";
    return -spot.difference_high > within * spot.dense + 1e-9 ? "a loss" : "too few samples";
}

const levelOf = spot => {
    const level = spot.point[data.arms[spot.point.arm].phase + "_level"];
    return level === null ? spot.sparsity : level;
};

/* A row a method, model and length. */
function leaders(within) {
    const group = groupNamed(state.tasks), rows = [];
    data.arms.forEach((arm, a) => {
        if ((arm.phase !== "prefill" && arm.phase !== "decode") || !chosen("arm", arm.label)) return;
        const own = points.filter(point => point.arm === a && chosen("model", data.models[point.model].label) && chosen("length", data.lengths[point.length]));
        const settings = new Map();
        own.forEach(point => { const key = point.model + "," + point.length; settings.set(key, [...(settings.get(key) || []), point]); });
        for (const list of settings.values()) {
            const spots = list.map(point => spotOf(point, group, arm.phase, "paper", 1)).filter(spot => spot && known(spot.difference)).sort((x, y) => levelOf(x) - levelOf(y));
            if (!spots.length) continue;
            const {best, sure} = leaderOf(spots, within);
            rows.push({arm: a, method: arm.label, form: arm.kind, phase: arm.phase, model: data.models[list[0].model].label, tokens: data.lengths[list[0].length], best,
                sparsity: best ? levelOf(best) : null, executed: best?.sparsity ?? null, loss: best?.loss ?? null, low: best?.loss_low ?? null, high: best?.loss_high ?? null,
                sure: sure ? levelOf(sure) : null, doubt: sure ? null : doubtOf(spots[0], within), choosing: best?.choosing ?? null, seconds: best?.seconds ?? null, bytes: best?.bytes ?? null,
                samples: Math.min(...spots.map(spot => spot.samples)), tasks: Math.min(...spots.map(spot => spot.tasks))});
        }
    });
    return rows;
}

/* What holds for every model and length: a row a method. */
function leadersOverall(rows) {
    const methods = new Map();
    rows.forEach(row => methods.set(row.arm, [...(methods.get(row.arm) || []), row]));
    return [...methods.values()].map(list => {
        const holds = list.every(row => row.best), worst = holds ? list.reduce((a, b) => b.loss > a.loss ? b : a) : null;
        const over = (name, how) => holds && list.every(row => known(row[name])) ? how(...list.map(row => row[name])) : null;
        const doubts = list.map(row => row.doubt).filter(doubt => doubt);
        return {...list[0], doubt: doubts.find(doubt => doubt === "a loss") || doubts[0] || null, model: `${list.length} settings`, tokens: null, best: worst?.best ?? null, sparsity: over("sparsity", Math.min), executed: over("executed", Math.min),
            loss: worst?.loss ?? null, low: worst?.low ?? null, high: worst?.high ?? null, sure: list.every(row => known(row.sure)) ? Math.min(...list.map(row => row.sure)) : null,
            choosing: over("choosing", Math.max), seconds: over("seconds", Math.max), bytes: over("bytes", Math.max), samples: Math.min(...list.map(row => row.samples)), tasks: Math.min(...list.map(row => row.tasks))};
    });
}

const board_columns = [
    ["method", "method", row => row.method], ["form", "form", row => row.form], ["phase", "phase", row => row.phase], ["model", "model", row => row.model], ["tokens", "tokens", row => known(row.tokens) ? String(row.tokens) : "all"],
    ["sparsity", "largest sparsity", row => known(row.sparsity) ? levelText(row.sparsity) : "none"],
    ["sure", "sure up to", row => known(row.sure) ? levelText(row.sure) : element("span", {class: `verdict ${row.doubt === "a loss" ? "no" : "undecided"}`}, row.doubt)], ["executed", "executed", row => fixed(row.executed, 3)],
    ["loss", "loss there", row => percent(row.loss)], ["high", "95 %", row => known(row.low) ? `[${fixed(100 * row.low, 1)}, ${fixed(100 * row.high, 1)}]` : ""],
    ["samples", "samples", row => String(row.samples)], ["choosing", "choosing", row => percent(row.choosing)],
    ["seconds", "seconds", row => known(row.seconds) ? String(Number(row.seconds.toPrecision(3))) : "–"], ["bytes", "bytes", row => prefixed(row.bytes)],
    ["tasks", "tasks", row => String(row.tasks)]];

function drawLeaderboard() {
    const host = document.getElementById("board"), within = state.within / 100, each = leaders(within), several = new Set(each.map(row => row.model + row.tokens)).size > 1;
    let rows = state.rows === "all" && several ? leadersOverall(each) : each;
    const words = state.find.toLowerCase().split(/\s+/).filter(word => word);
    rows = rows.filter(row => words.every(word => `${row.method} ${row.form} ${row.phase} ${row.model} ${row.tokens}`.toLowerCase().includes(word)));
    const down = state.sort.startsWith("-"), column = state.sort.replace("-", "");
    const value = row => typeof row[column] === "string" ? row[column] : known(row[column]) ? row[column] : down ? -Infinity : Infinity;
    rows.sort((a, b) => { const [x, y] = [value(a), value(b)]; const order = x < y ? -1 : x > y ? 1 : 0;
        return (down ? -order : order) || (known(a.loss) ? a.loss : Infinity) - (known(b.loss) ? b.loss : Infinity) || a.arm - b.arm; });
    const set = key => input => { state[key] = input; stateWrite(); drawLeaderboard(); };
    const active = document.activeElement?.dataset.board, at = document.activeElement?.selectionStart;
    const table = tableOf(board_columns.map(([name, label]) => {
        const mine = name === column, button = element("button", {type: "button", "data-board": "sort-" + name, onclick: () => set("sort")(mine && down ? name : "-" + name)}, label + (mine ? down ? " ▼" : " ▲" : ""));
        return button;
    }), rows.map(row => board_columns.map(([name, , write]) => name === "method" ? element("span", {class: "named"}, swatch(row.arm), write(row)) : write(row))), [0, 1, 2, 3], null);
    [...table.tHead.rows[0].cells].forEach((cell, i) => { if (board_columns[i][0] === column) cell.setAttribute("aria-sort", down ? "descending" : "ascending"); });
    host.replaceChildren(
        element("div", {class: "controls"},
            element("label", {}, "may lose, % of dense", element("input", {type: "number", min: 0, max: 100, step: "any", value: state.within, "data-board": "within",
                onchange: event => set("within")(Math.max(0, Number(event.target.value) || 0))})),
            groups.length > 1 ? chooser("tasks", groups.map(group => [group.label, groupText(group)]), state.tasks, chosen_tasks => { state.tasks = chosen_tasks; redraw(); }) : null,
            several ? chooser("a row", [["all", "a method, what holds for all of them"], ["each", "a method, model and length"]], state.rows, set("rows")) : null,
            element("label", {}, "find", element("input", {type: "search", placeholder: "decode quest 2048", value: state.find, "data-board": "find", oninput: event => set("find")(event.target.value)}))),
        element("p", {class: "note"}, `Largest sparsity asked for up to which a method loses at most ${state.within} % of dense, on ${groupNamed(state.tasks).label}; sure up to: ` +
            "the whole 95 % interval stays within; where it never does, why: at the least sparsity all of it lies beyond (a loss), or a part (too few samples). Choosing: share of executed FLOPs. Seconds a sample (lanes that decode together share a " +
            "step's time) and bytes (in decode a token's) at batch 1, as executed." +
            (state.rows === "all" && several ? " Of all models and lengths that are chosen above: the smallest sparsity, the largest loss and costs." : "",
            state.arm ? " Only methods that are chosen above." : ""),
            state.rows === "all" && several && rows.length && rows.every(row => !known(row.sparsity))
                ? element("b", {}, " No method holds in every model and length; choose \"a method, model and length\" for each of them.") : null),
        element("div", {class: "scroll tall", tabindex: 0, role: "group", "aria-label": "leaderboard"}, table),
        element("p", {class: "note"}, `${rows.length} rows. For each group of tasks, model and length: tables/leaderboard.csv, .md, .tex, .json (at most ${data.within} %); frontier report --leaderboard FORMAT --within PERCENT prints others.`));
    if (active) {
        const again = host.querySelector(`[data-board="${active}"]`);
        again?.focus();
        if (again?.type === "search") again.setSelectionRange(at, at);
    }
}
