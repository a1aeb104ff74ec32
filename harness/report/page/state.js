/* What is chosen, kept in the address behind the #, so that a view can be sent and is still there after a reload. A value
 * that is its default is not written. Lists (models, lengths, arms) are null while everything is chosen. */

const state = {};
const state_defaults = {};
const state_lists = new Set();

function stateBegin(defaults, lists) {
    Object.assign(state_defaults, defaults);
    Object.assign(state, defaults);
    lists.forEach(name => state_lists.add(name));
    stateRead();
}

function stateRead() {
    if (location.hash && !location.hash.includes("=")) return; /* the name of a section */
    const address = new URLSearchParams(location.hash.slice(1));
    for (const [key, value] of Object.entries(state_defaults)) {
        if (!address.has(key)) state[key] = value;
        else if (state_lists.has(key)) state[key] = address.getAll(key);
        else state[key] = typeof value === "number" ? Number(address.get(key)) || value : address.get(key);
    }
}

function stateWrite() {
    const address = new URLSearchParams();
    for (const [key, value] of Object.entries(state_defaults)) {
        if (state_lists.has(key)) (state[key] || []).forEach(item => address.append(key, item));
        else if (String(state[key]) !== String(value)) address.set(key, state[key]);
    }
    const text = address.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
}

/* Whether an item of a list is chosen; choosing all or none of them again means all. */
const chosen = (list, item) => state[list] === null || state[list].includes(String(item));

function choose(list, items, wanted) {
    const kept = items.map(String).filter(item => wanted(item));
    state[list] = kept.length === 0 || kept.length === items.length ? null : kept;
}
