/* The report's numbers: what report/dataset.c wrote, looked up and averaged. No statistic is computed here: intervals and
 * tests were made over exactly the groups of tasks that can be chosen. */

const data = JSON.parse(document.getElementById("data").textContent);

const records = table => table.rows.map(row => Object.fromEntries(table.columns.map((column, i) => [column, row[i]])));

const cells = records(data.cells);
const points = records(data.points);
points.forEach((point, i) => Object.assign(point, {index: i, cell: new Array(data.tasks.length).fill(null)}));
cells.forEach((cell, i) => { cell.index = i; points[cell.point].cell[cell.task] = cell; });

/* Groups of tasks with their statistics; of a single task these are its cells'. */
const groups = data.summaries.groups.map(group => ({
    label: group.label, tasks: group.tasks, rows: records({columns: data.summaries.columns, rows: group.rows})}));
if (data.tasks.length > 1) data.tasks.forEach((task, i) => groups.push({label: task.label, tasks: [i], rows: null}));

/* With the study's class behind the name of a single task. */
function groupText(group) {
    const task = group.rows ? null : data.tasks[group.tasks[0]];
    return task ? `${group.label}: ${task.dispersion ? "multi-hop" : ""}${task.dispersion && task.scope ? ", " : ""}${task.scope ? "aggregation" : task.dispersion ? "" : "retrieval"}` : group.label;
}

const groupNamed = label => groups.find(group => group.label === label) || groups[0];

function statistics(group, point) {
    if (group.rows) return group.rows[point.index].tasks ? group.rows[point.index] : null;
    const cell = point.cell[group.tasks[0]];
    return cell && {...cell, tasks: 1};
}

const phases = ["prefill", "decode", "both"].filter(phase => data.arms.some(arm => arm.phase === phase));
/* Phase that costs and sparsity are read of: of an arm that makes both sparse, prefill. */
const measured = phase => phase === "decode" ? "decode" : "prefill";

const levelText = value => value === null ? "set" : String(Number(value.toFixed(4)));
function requested(point) {
    const arm = data.arms[point.arm];
    return arm.phase === "dense" ? "0" : arm.phase === "both" ? levelText(point.prefill_level) + "/" + levelText(point.decode_level)
        : levelText(point[arm.phase + "_level"]);
}

/* Requested sparsities of a phase's arms, as text, ascending. */
const levelsOf = phase => [...new Set(points.filter(point => data.arms[point.arm].phase === phase).map(requested))]
    .sort((a, b) => parseFloat(a) - parseFloat(b) || (a < b ? -1 : 1));

function mean(list, of) {
    let sum = 0, n = 0;
    for (const item of list) {
        const value = of(item);
        if (known(value)) sum += value, n++;
    }
    return n ? sum / n : null;
}

/* A cost of batch 1 at another: a decode step reads the weights once, the caches of all. */
function atBatch(cost, phase, weights, batch) {
    if (!known(cost)) return null;
    return phase === "decode" ? weights + batch * (cost - weights) : batch * cost;
}

/* All numbers of a point, over a group of tasks, in a phase; null: none of them was run. */
function spotOf(point, group, phase, cost, batch) {
    const found = statistics(group, point);
    if (!found) return null;
    const of = measured(phase), mine = group.tasks.map(task => point.cell[task]).filter(cell => cell);
    const average = column => mean(mine, cell => cell[of + "_" + column]);
    const scaled = column => atBatch(average(column), of, data.models[point.model].weights, batch);
    const relative = value => known(value) && found.dense > 0 ? -value / found.dense : null;
    const spot = {...found, point, cells: mine, phase, sparsity: average("sparsity"), paper: scaled("paper"), exact: scaled("exact"),
        seconds: average("seconds"), bytes: average("bytes"), choosing: average("choosing"), recall: average("recall"),
        kl: average("kl"), agreement: average("agreement"),
        loss: relative(found.difference), loss_low: relative(found.difference_high), loss_high: known(found.difference_low) && found.dense > 0 ? Math.min(1, relative(found.difference_low)) : null, /* no more than all can be lost */
        length: data.lengths[point.length]};
    spot.cost = spot[cost];
    return spot;
}

const samePlace = (a, b) => a.model === b.model && a.length === b.length;
const dense_points = new Map(points.filter(point => point.arm === 0).map(point => [point.model + "," + point.length, point]));
const denseOf = point => dense_points.get(point.model + "," + point.length);

/* A point's cost as a share of dense's. */
function ofDense(spot) {
    const dense = denseOf(spot.point), base = dense && spotOf(dense, groupNamed(state.tasks), spot.phase, state.cost, state.batch);
    return base && base.cost > 0 && known(spot.cost) ? spot.cost / base.cost : null;
}

/* A model that was trained under a method has that where others are dense. */
const armName = point => point.arm ? data.arms[point.arm].label : data.models[point.model].attention || "dense";

function nameOf(point) {
    const arm = data.arms[point.arm];
    return `${data.models[point.model].label}, ${data.lengths[point.length]} tokens, ` +
        (point.arm ? `${arm.label} at ${requested(point)} (${arm.phase === "both" ? "prefill and decode" : arm.phase})` : armName(point));
}

/* The command that runs a cell again, with the config that lies beside this page. */
const repeat = key => `frontier run config.yaml${data.set.map(item => ` --set '${item.replaceAll("'", "'\\''")}'`).join("")} --only ${key} --out again.h5`;
