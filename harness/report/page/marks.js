/* One mark means one method in every chart: a shape, filled or hollow, and a colour. 9 shapes times 8 colours, without a
 * common divisor: 72 methods are told apart. */

const mark_colours = 8;
const mark_shapes = ["circle", "square", "triangle-up", "triangle-down", "diamond", "cross"];
const mark_styles = 9; /* six filled, three hollow */

function markOf(arm) {
    if (arm === 0) return {path: "M0,-6V6M-5.2,-3L5.2,3M-5.2,3L5.2,-3", hollow: true, colour: "var(--ink)"};
    const own = (arm - 1) % mark_styles, shape = mark_shapes[own % mark_shapes.length];
    return {path: d3.svg.symbol().type(shape).size(62)(), hollow: own >= mark_shapes.length, colour: colourOf(arm - 1)};
}

const colourOf = index => `var(--c${index % mark_colours})`;

/* Draws a mark into an SVG selection, in its own colour or another's. */
function drawMark(selection, mark, colour) {
    const paint = colour || mark.colour;
    return selection.append("path").attr("class", "mark").attr("d", mark.path)
        .style("stroke", paint).style("fill", mark.hollow ? "var(--paper)" : paint);
}

function swatch(arm, colour) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", 16);
    svg.setAttribute("height", 16);
    svg.setAttribute("viewBox", "-8 -8 16 16");
    svg.setAttribute("aria-hidden", "true");
    drawMark(d3.select(svg), markOf(arm), colour);
    return svg;
}
