/* A panel of a chart: points, lines, bars, a cursor that follows pointer and arrow keys. */

const short = value => String(Number(value.toFixed(3))).replace("-", "−");

/* What an axis can show: `at` puts a value on a line, `low` and `high` are of its interval. */
const measures = {
    score: {label: "score", at: value => value, write: value => fixed(value, 3), tick: short, low: "low", high: "high"},
    loss: {label: "relative error, (dense − sparse) / dense", at: value => value, write: percent, tick: value => short(100 * value) + " %", low: "loss_low", high: "loss_high",
           zero: true},
    difference: {label: "score − dense", at: value => value, write: value => signed(value, 3), tick: short, low: "difference_low",
                 high: "difference_high", zero: true},
    sparsity: {label: "sparsity as executed", at: value => -Math.log2(1 - Math.min(value, 0.9999)), write: value => fixed(value, 3),
               ticks: [0, .25, .5, .7, .8, .9, .95, .98, .99, .995], tick: value => String(value)},
    length: {label: "tokens", at: Math.log2, write: value => String(value), ticks: data.lengths, tick: value => String(value)},
    cost: {label: "cost", positive: true, write: prefixed},
    seconds: {label: "seconds a sample, measured", positive: true, write: value => known(value) ? Number(value.toPrecision(3)) + " s" : "–"},
    bytes: {label: "bytes read and written, batch 1 (decode: a token)", positive: true, write: prefixed},
    choosing: {label: "share of FLOPs spent on choosing", at: value => value, write: percent},
    kl: {label: "KL(dense ‖ sparse), nats", positive: true, write: value => known(value) ? String(Number(value.toPrecision(3))) : "–"},
    agreement: {label: "predictions that are dense's", at: value => value, write: percent, tick: value => short(100 * value) + " %"},
    recall: {label: "attention mass kept", at: value => value, write: value => fixed(value, 3), tick: short},
};

/* Where values go, and where ticks stand: logarithmic where a positive measure spans more than a factor of 2.5. */
function axisOf(measure, values, size, most) {
    const span = d3.extent(values);
    const logarithmic = measure.positive && span[0] > 0 && span[1] > 2.5 * span[0];
    const at = logarithmic ? Math.log10 : measure.at || (value => value);
    let [low, high] = [at(span[0]), at(span[1])];
    const edge = (high - low || Math.abs(high) || 1) * 0.06;
    const scale = d3.scale.linear().domain([low - edge, high + edge]).range(size);
    let ticks = measure.ticks;
    if (logarithmic)
        for (const factors of [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
            ticks = d3.range(Math.floor(low) - 1, Math.ceil(high) + 1).flatMap(e => factors.map(f => Number((f * 10 ** e).toPrecision(2))));
            ticks = ticks.filter(tick => at(tick) >= low - edge && at(tick) <= high + edge);
            if (ticks.length <= most) break;
        }
    else if (!ticks) ticks = scale.ticks(most);
    ticks = ticks.filter(tick => at(tick) >= low - edge && at(tick) <= high + edge);
    let last = -Infinity; /* ticks that would run into each other are left out */
    const room = Math.abs(size[1] - size[0]) / (most + 2);
    ticks = ticks.filter(tick => { const where = Math.abs(scale(at(tick)) - size[0]); return where - last >= room * 0.8 && (last = where, true); });
    return {place: value => scale(at(value)), ticks, scale, at};
}

const tip = element("div", {id: "tip", role: "presentation", hidden: true});
const spoken = element("div", {class: "hide", "aria-live": "polite"});

/* What is known of a point, as lines of text. */
function linesOf(spot) {
    const lines = [nameOf(spot.point),
        `score ${fixed(spot.score, 3)} ${interval(spot.low, spot.high, value => fixed(value, 3))}, ${spot.samples} samples of ${spot.tasks} task${spot.tasks > 1 ? "s" : ""}`];
    if (known(spot.difference))
        lines.push(`against dense ${signed(spot.difference, 3)} ${interval(spot.difference_low, spot.difference_high, value => signed(value, 3))}` +
            (known(spot.p) ? `, p ${Number(spot.p.toPrecision(2))} (Holm)` : ""));
    lines.push(`sparsity ${fixed(spot.sparsity, 3)}, cost ${prefixed(spot.cost)} ${costUnit(measured(spot.phase))}${spot.point.arm && known(ofDense(spot)) ? ` (${percent(ofDense(spot))} of dense)` : ""}${known(spot.choosing) && spot.point.arm ? `, choosing ${percent(spot.choosing)} of FLOPs` : ""}, ${measures.seconds.write(spot.seconds)} a sample, ${prefixed(spot.bytes)}B a ${spot.phase === "decode" ? "token" : "prefill"} at batch 1` +
        (known(spot.recall) ? `, attention mass ${fixed(spot.recall, 3)}` : ""));
    if (known(spot.kl) && spot.point.arm) lines.push(`KL(dense ‖ sparse) ${measures.kl.write(spot.kl)} nats, ${percent(spot.agreement)} of predictions are dense's`);
    return lines;
}

/* `hidden`: spots that lie under it. */
function showTip(spot, hidden, x, y) {
    const [name, ...lines] = linesOf(spot);
    tip.replaceChildren(element("b", {}, name), ...lines.map(line => element("div", {}, line)),
        hidden.length ? element("div", {}, element("b", {}, "At the same place: "), hidden.map(other => nameOf(other.point)).join("; ")) : "",
        element("div", {class: "muted"}, spot.cells.length === 1 ? `cell ${spot.cells[0].key}; ${repeat(spot.cells[0].key)}`
            : `${spot.cells.length} cells; click for their keys, commands and samples`));
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), wide = document.documentElement.clientWidth;
    tip.style.left = Math.max(4, Math.min(x + 14, wide - box.width - 8)) + "px";
    tip.style.top = (y + 16) + "px";
}

/* spots: with x and y known; lines: {colour, spots} to be joined; bars: whether intervals are drawn. `choose` is called with a
 * spot that was clicked. Domains are of `all`, so that panels share them. Returns the panel's element. */
function drawPanel(title, panel, choose) {
    const wide = Math.max(260, panel.width), tall = Math.round(Math.min(wide * 0.72, 460)), pad = {left: 54, right: 12, top: 10, bottom: 44};
    const {x, y, spots} = panel, low = y.low && panel.bars ? y.low : null;
    const ys = panel.all.flatMap(spot => [spot[panel.yName], low && spot[y.low], low && spot[y.high]]).filter(known);
    const across = axisOf(x, (panel.shareX ? panel.all : spots).map(spot => spot[panel.xName]), [pad.left, wide - pad.right], Math.floor(wide / 75));
    const up = axisOf(y, y.zero ? [...ys, 0] : ys, [tall - pad.bottom, pad.top], 6);
    const place = spot => [across.place(spot[panel.xName]), up.place(spot[panel.yName])];
    const ordered = [...spots].sort((a, b) => a[panel.xName] - b[panel.xName] || a[panel.yName] - b[panel.yName]);
    const host = element("div", {class: "panel"}, title ? element("h3", {}, title) : null);
    const svg = d3.select(host).append("svg").attr({class: "chart", viewBox: `0 0 ${wide} ${tall}`, tabindex: 0, role: "application",
        "aria-roledescription": "chart", "aria-label": `${title || "chart"}: ${y.label} against ${panel.xLabel}, ${spots.length} points. ` +
        "Arrow keys go from point to point, Enter chooses one."});
    const axis = (scale, own, side) => d3.svg.axis().scale(scale).orient(side).tickValues(own.ticks.map(own.at)).outerTickSize(0);
    svg.append("g").attr({class: "axis grid", transform: `translate(${pad.left},0)`})
        .call(axis(up.scale, up, "left").tickSize(-(wide - pad.left - pad.right)).tickFormat(""));
    const writeTick = (measure, own) => (_, i) => (measure.tick || measure.write)(own.ticks[i]);
    svg.append("g").attr({class: "axis", transform: `translate(0,${tall - pad.bottom})`}).call(axis(across.scale, across, "bottom").tickFormat(writeTick(x, across)));
    svg.append("g").attr({class: "axis", transform: `translate(${pad.left},0)`}).call(axis(up.scale, up, "left").tickFormat(writeTick(y, up)));
    svg.append("text").attr({x: (pad.left + wide - pad.right) / 2, y: tall - 6, "text-anchor": "middle"}).text(panel.xLabel);
    if (y.zero) svg.append("line").attr({class: "zero", x1: pad.left, x2: wide - pad.right, y1: up.place(0), y2: up.place(0)});
    const line = d3.svg.line().x(spot => place(spot)[0]).y(spot => place(spot)[1]);
    if (panel.pareto) svg.append("path").attr({class: "pareto", d: line.interpolate("step-after")(panel.pareto)});
    line.interpolate("linear");
    for (const own of panel.lines) svg.append("path").datum(own).attr({class: "series", d: line(own.spots)}).style("stroke", own.colour);
    const each = svg.selectAll("g.spot").data(spots).enter().append("g").attr("class", "spot");
    each.each(function (spot) {
        const [left, top] = place(spot), own = d3.select(this);
        if (low && known(spot[y.low]))
            own.append("line").attr({class: "bar", x1: left, x2: left, y1: up.place(spot[y.low]), y2: up.place(spot[y.high])})
                .style("stroke", panel.colour(spot));
        drawMark(own.append("g").attr("transform", `translate(${left},${top})`), markOf(spot.point.arm), panel.colour(spot));
    });
    const here = svg.append("circle").attr({class: "here", r: 10}).style("display", "none");
    let at = -1;
    const show = (index, speak) => {
        at = index;
        const spot = ordered[at], [left, top] = place(spot), box = svg.node().getBoundingClientRect(), zoom = box.width / wide;
        here.attr({cx: left, cy: top}).style("display", null);
        fade(svg, spot.point);
        const under = ordered.filter(other => other !== spot && Math.hypot(place(other)[0] - left, place(other)[1] - top) < 3);
        showTip(spot, under, box.left + scrollX + left * zoom, box.top + scrollY + top * zoom);
        if (speak) spoken.textContent = linesOf(spot).join(". ");
    };
    const leave = () => { tip.hidden = true; here.style("display", "none"); fade(svg, null); };
    const nearest = event => {
        const box = svg.node().getBoundingClientRect(), zoom = wide / box.width;
        const left = (event.clientX - box.left) * zoom, top = (event.clientY - box.top) * zoom;
        let best = -1, least = 40 ** 2;
        ordered.forEach((spot, i) => {
            const [a, b] = place(spot), far = (a - left) ** 2 + (b - top) ** 2;
            if (far < least) best = i, least = far;
        });
        return best;
    };
    const node = svg.node();
    node.addEventListener("pointermove", event => { const found = nearest(event); if (found < 0) leave(); else if (found !== at || tip.hidden) show(found, false); });
    node.addEventListener("pointerleave", leave);
    node.addEventListener("blur", leave);
    node.addEventListener("click", event => { const found = nearest(event); if (found >= 0) choose(ordered[found]); });
    node.addEventListener("keydown", event => {
        const step = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1}[event.key];
        if (step && ordered.length) show((at + step + ordered.length) % ordered.length, true);
        else if (event.key === "Enter" && at >= 0) choose(ordered[at]);
        else if (event.key === "Escape") leave();
        else return;
        event.preventDefault();
    });
    return host;
}

/* All but the points of the same model and method stand back; null: none does. */
function fade(svg, point) {
    const other = spot => point && (spot.point.arm !== point.arm || spot.point.model !== point.model);
    svg.selectAll("g.spot").classed("faded", other);
    svg.selectAll("path.series").classed("faded", own => other(own.spots[0]));
}
