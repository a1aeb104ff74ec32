/* Sets the page up, once the data are there. */

stateBegin({view: "frontier", phase: phases[0] || "prefill", tasks: groups[0].label, y: "score", cost: "paper", batch: data.batch, level: "",
            colour: data.models.length > 1 ? "model" : "method", model: null, length: null, arm: null}, ["model", "length", "arm"]);
document.body.append(tip, spoken);
document.getElementById("chart-table").addEventListener("toggle", drawExplorer);
drawExplorer();
addEventListener("hashchange", () => { stateRead(); drawExplorer(); });
let redrawing = 0, drawn_width = document.documentElement.clientWidth;
addEventListener("resize", () => {
    if (document.documentElement.clientWidth === drawn_width) return;
    drawn_width = document.documentElement.clientWidth;
    cancelAnimationFrame(redrawing);
    redrawing = requestAnimationFrame(drawExplorer);
});
document.documentElement.dataset.ready = "yes";
