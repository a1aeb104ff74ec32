/* Making elements. Labels come from strangers' files: they are only ever set as text, never as markup. */

/* element("p", {class: "note"}, "text", child, …); a property `on…` is a listener; null children are left out. */
function element(name, properties, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties || {})) {
        if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
        else if (value === true) made.setAttribute(key, "");
        else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter(child => child !== null && child !== undefined));
    return made;
}

/* A labelled <select> of [value, text] pairs. */
function chooser(label, options, value, onchange) {
    const select = element("select", {onchange: event => onchange(event.target.value)},
        ...options.map(([own, text]) => element("option", {value: own, selected: String(own) === String(value)}, text)));
    return element("label", {}, label, select);
}

/* A table from rows of cells; a cell is text, an element, or null. `left`: the columns that stand left. */
function tableOf(head, rows, left, caption) {
    const side = column => left.includes(column) ? {class: "l"} : {};
    return element("table", {}, caption ? element("caption", {}, caption) : null,
        element("thead", {}, element("tr", {}, ...head.map((cell, i) => element("th", {scope: "col", ...side(i)}, cell)))),
        element("tbody", {}, ...rows.map(row => element("tr", {}, ...row.map((cell, i) => element("td", side(i), cell ?? "–"))))));
}

const known = value => value !== null && value !== undefined && !Number.isNaN(value);
/* What rounds to zero has no sign. */
const fixed = (value, digits) => known(value) ? value.toFixed(digits).replace("-", Number(value.toFixed(digits)) ? "−" : "") : "–";
const signed = (value, digits) => known(value) && Number(value.toFixed(digits)) > 0 ? "+" + fixed(value, digits) : fixed(value, digits);
const percent = value => known(value) ? fixed(100 * value, 1) + " %" : "–";
const interval = (low, high, write) => known(low) ? `[${write(low)}, ${write(high)}]` : "";

/* 12.3M: three digits and a decimal prefix. */
function prefixed(value) {
    if (!known(value)) return "–";
    const prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"];
    let power = 0;
    while (Math.abs(value) >= 999.5 && power < prefixes.length - 1) value /= 1000, power++;
    return Number(value.toPrecision(3)) + prefixes[power];
}
