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
    drawSample();
}
drawAll();
if (location.hash.includes("=")) document.getElementById(state.sample ? "sample" : "charts").scrollIntoView(); /* what was sent */
addEventListener("hashchange", () => { stateRead(); drawAll(); });
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
