# Heat maps in panels: one value a (row, column) of a grid, with the number in each field where there is room.
# Set above: title[], panel_n, missing[], xlabel_text, ylabel_text, box_text, x_tics, y_tics, x_n, y_n (by panel), zmin, zmax,
# numbers, diverging, columns, alike (panels share their y axis).

rows = int((panel_n + columns - 1) / columns)
right_mm = 4.0; across_mm = alike ? 4.0 : 11.0; bottom_mm = 18.0; down_mm = 12.0
eval layout
csv = name.'.csv'
# Lightness falls evenly in both, so that they survive grey print and colour-blind eyes.
if (diverging) { set palette defined (-1 '#b2182b', -0.5 '#ef8a62', 0 '#f7f7f7', 0.5 '#67a9cf', 1 '#2166ac') } else { set palette defined (0 '#fde725', 0.25 '#5ec962', 0.5 '#21918c', 0.75 '#3b528b', 1 '#440154') }
set cbrange [zmin:zmax]
set datafile missing 'none'
unset grid
set multiplot
do for [panel = 1:panel_n] {
    eval place
    title_of_panel = title[panel]; eval heading
    note_of_panel = missing[panel]; eval note
    set xrange [-0.5:x_n[panel] - 0.5]; set yrange [-0.5:y_n[panel] - 0.5]
    eval 'set xtics '.x_tics[panel]; eval 'set ytics '.y_tics[panel]
    if (col(panel) == 0) { set ylabel ylabel_text offset 0, 0; set format y '%g' } else { unset ylabel; if (alike) { set format y ''; set ytics ('' 0) } }
    if (panel > panel_n - columns) { set xlabel xlabel_text offset 0, 0.5 } else { unset xlabel }
    if (panel == panel_n) { set colorbox horizontal user origin screen lm(1), screen 7.5 / height size screen panel_w / width, screen 2.0 / height; set cblabel box_text offset 0, 0.7; set cbtics scale 0.3 offset 0, 0.5 } else { unset colorbox }
    # Rows of a panel are its whole grid, line by line; an empty value (column 5) is a white field. `missing`
    # would drop its row; the panel's title stands last, since gnuplot loses count behind quoted texts.
    begin = panel == 1 ? 0 : end + 1; end = begin + x_n[panel] * y_n[panel] - 1; few = x_n[panel] * y_n[panel] <= 100
    dark(z) = diverging ? abs(z - 0.5 * (zmin + zmax)) > 0.35 * (zmax - zmin) : z > zmin + 0.5 * (zmax - zmin)
    z(dummy) = valid(5) ? column(5) : NaN
    x(dummy) = column('x'); y(dummy) = column('y')
    plot for [i = 1:!few] csv every ::begin::end using (x(0)):(y(0)):(z(0)) with image, \
        for [i = 1:few] csv every ::begin::end using (x(0)):(y(0)):(x(0) - 0.5):(x(0) + 0.5):(y(0) - 0.5):(y(0) + 0.5):(z(0)) with boxxyerror fillstyle solid noborder fillcolor palette, \
        for [i = 1:numbers] csv every ::begin::end using (x(0)):(y(0)):(valid(5) ? sprintf('%.2f', column(5)) : ''):(dark(z(0)) ? 0xffffff : 0x000000) with labels font ',5.5' textcolor rgb variable
    unset label
}
unset multiplot
set output
