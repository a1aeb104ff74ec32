# Heat maps in panels: one value a (row, column) of a grid, with the number in each field where there is room.
# Set above: title[], panel_n, missing[], xlabel_text, ylabel_text, box_text, x_tics, y_tics, x_n, y_n (by panel), zmin, zmax,
# numbers, diverging, columns.

rows = int((panel_n + columns - 1) / columns)
right_mm = 4.0; bottom_mm = 18.0; down_mm = 12.0
eval layout
csv = name.'.csv'
# Lightness falls evenly in both, so that they survive grey print and colour-blind eyes.
if (diverging) { set palette defined (-1 '#b2182b', -0.5 '#ef8a62', 0 '#f7f7f7', 0.5 '#67a9cf', 1 '#2166ac') } else { set palette defined (0 '#fde725', 0.25 '#5ec962', 0.5 '#21918c', 0.75 '#3b528b', 1 '#440154') }
set cbrange [zmin:zmax]
unset grid
set multiplot
do for [panel = 1:panel_n] {
    eval place
    title_of_panel = title[panel]; eval heading
    note_of_panel = missing[panel]; eval note
    set xrange [-0.5:x_n[panel] - 0.5]; set yrange [-0.5:y_n[panel] - 0.5]
    eval 'set xtics '.x_tics[panel]; eval 'set ytics '.y_tics[panel]
    if (col(panel) == 0) { set ylabel ylabel_text offset 1, 0 } else { unset ylabel }
    if (panel > panel_n - columns) { set xlabel xlabel_text offset 0, 0.5 } else { unset xlabel }
    if (panel == panel_n) { set colorbox horizontal user origin screen lm(1), screen 7.5 / height size screen panel_w / width, screen 2.0 / height; set cblabel box_text offset 0, 0.7; set cbtics scale 0.3 offset 0, 0.5 } else { unset colorbox }
    in(v) = column('panel_id') == panel ? v : NaN
    dark(z) = diverging ? abs(z - 0.5 * (zmin + zmax)) > 0.35 * (zmax - zmin) : z > zmin + 0.5 * (zmax - zmin)
    plot csv using (in(column('x'))):(column('y')):(column('value')) with image pixels, \
        for [i = 1:numbers] csv using (in(column('x'))):(column('y')):(sprintf('%.2f', column('value'))):(dark(column('value')) ? 0xffffff : 0x000000) with labels font ',5.5' textcolor rgb variable
    unset label
}
unset multiplot
set output
