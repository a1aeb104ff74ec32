/* Sets the page up, once the data are there. */

stateBegin({view: "frontier", phase: phases[0] || "prefill", tasks: groups[0].label, y: "score", cost: "paper", batch: data.batch, level: "",
            colour: "auto", model: null, length: null, arm: null,
            within: data.within, rows: "all", sort: "-sparsity", find: "", asked: "", show: "all", order: "grid", page: 1, of: "", sample: "", against: ""}, ["model", "length", "arm"]);
document.body.append(tip, spoken);
document.getElementById("chart-table").addEventListener("toggle", () => drawExplorer());
function drawAll() {
    drawExplorer();
    drawLeaderboard();
    drawSampleList();
    return drawSample();
}

/* Which choices are of which part of the page; those of no other are the charts'. */
const parts = {sample: ["sample"], samples: ["of", "asked", "show", "order", "page"], leaderboard: ["within", "rows", "sort", "find"]};

/* Shows what an address says, and the part of the page that it points at: the last of those that it says something of. A
 * sample comes later than the rest, and what stands below it would be seen in its place until then. */
async function openAddress() {
    const sent = location.hash.includes("="), address = new URLSearchParams(location.hash.slice(1));
    await drawAll();
    if (sent) document.getElementById(Object.keys(parts).find(part => parts[part].some(key => address.has(key))) || "charts").scrollIntoView();
}
openAddress();
addEventListener("hashchange", () => { stateRead(); openAddress(); });
/* A link to a section keeps what was chosen in the address. */
document.addEventListener("click", event => {
    const link = event.target.closest('a[href^="#"]'), section = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!section || event.defaultPrevented) return;
    event.preventDefault();
    section.scrollIntoView();
});
let redrawing = 0, drawn_width = document.documentElement.clientWidth;
addEventListener("resize", () => {
    if (document.documentElement.clientWidth === drawn_width) return;
    drawn_width = document.documentElement.clientWidth;
    cancelAnimationFrame(redrawing);
    redrawing = requestAnimationFrame(drawExplorer);
});
document.documentElement.dataset.ready = "yes";
