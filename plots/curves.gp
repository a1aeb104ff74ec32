# Curves of score (or another value) against sparsity, in panels. Sparsity runs on a logarithmic scale of what is left:
# 0.5, 0.75, 0.875 stand at equal distances. Set above: title[], panel_n, series[], dashed[], reference[], reference_low[],
# reference_high[], missing[], ylabel_text, xlabel_text, share (the axis is 0 … 1), ymin, ymax, ystep, percent, logarithmic, columns.

rows = int((panel_n + columns - 1) / columns)
if (percent) { left_mm = 16.0 }
eval layout
x(s) = share ? s : (s < 1) ? -log(1 - s) / log(2) : NaN
place_of = share ? 'place' : 'sparsity'
csv = name.'.csv'
set multiplot
if (share) { set xtics 0.25 } else { set xtics ('0' x(0), '0.5' x(0.5), '0.8' x(0.8), '0.9' x(0.9), '0.95' x(0.95), '0.98' x(0.98), '0.99' x(0.99)) }
set xrange [(share ? 0 : -0.15):xmax]
set yrange [ymin:ymax]
set ytics ystep
if (logarithmic) { set logscale y 10 }
do for [panel = 1:panel_n] {
    eval place
    title_of_panel = title[panel]; eval heading
    note_of_panel = missing[panel]; eval note
    if (col(panel) == 0) { set ylabel ylabel_text offset (percent ? -0.5 : 1), 0; set format y (percent ? '%g %%' : '%g') } else { unset ylabel; set format y '' }
    if (panel > panel_n - columns) { set xlabel xlabel_text offset 0, 0.5 } else { unset xlabel }
    in(s, v) = (column('panel_id') == panel && column('series_id') == s) ? v : NaN
    value = percent ? 100.0 : 1.0
    ref = reference[panel] * value; ref_low = reference_low[panel] * value; ref_high = reference_high[panel] * value
    if (ref_low == ref_low && ref_high == ref_high) { set object 1 rectangle from graph 0, first ref_low to graph 1, first ref_high fillcolor rgb '#e8e8e8' fillstyle solid noborder behind }
    plot ref with lines dashtype 3 linewidth 0.8 linecolor rgb colour[8], \
        for [s = 1:series_n] csv using (in(s, x(column(place_of)))):(column('value') * value):(column('low') * value):(column('high') * value) with yerrorbars pointtype 0 linewidth 0.5 linecolor rgb hue(s), \
        for [s = 1:series_n] csv using (in(s, x(column(place_of)))):(column('value') * value) with linespoints dashtype 1 + dashed[s] pointtype (dashed[s] ? mark(s) - 1 : mark(s)) pointsize 0.7 linewidth 0.9 linecolor rgb hue(s)
    unset label; unset object
}
eval legend_frame
dense = has_reference ? ", NaN with lines dashtype 3 linewidth 0.8 linecolor rgb colour[8] title 'dense'" : ""
eval "plot for [s = 1:series_n] NaN with linespoints dashtype 1 + dashed[s] pointtype (dashed[s] ? mark(s) - 1 : mark(s)) linecolor rgb hue(s) title fit(series[s])".dense
unset multiplot
set output
