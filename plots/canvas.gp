# One head's attention mass, dense and under each method, on a logarithmic scale; white: not computed. Set above: title[],
# panel_n, place_of[], lines[], keys[], queries[], decode[], side, box_text, columns, rows.

down_mm = 13.0; across_mm = 11.0; bottom_mm = 18.0
left_mm = 15.0; right_mm = 6.0
eval layout
short(n) = n < 2048 ? sprintf('%d', n) : sprintf('%.3gk', n / 1000.0)
csv = name.'.csv'
set datafile missing 'none'
set palette defined (0 '#fde725', 0.25 '#5ec962', 0.5 '#21918c', 0.75 '#3b528b', 1 '#440154')
floor_of_mass = 1e-4
set logscale cb; set cbrange [floor_of_mass:1]
unset grid
set multiplot
end = -1
do for [i = 1:panel_n] {
    panel = place_of[i]; eval place
    begin = end + 1; end = begin + lines[i] * side - 1
    title_of_panel = title[i]; eval heading
    set xrange [0:keys[i]]; set yrange [queries[i]:0]
    set xtics (0, short(keys[i] / 2) keys[i] / 2, short(keys[i]) keys[i])
    set ytics (0, short(queries[i] / 2) queries[i] / 2, short(queries[i]) queries[i])
    set xlabel 'Key (token)' offset 0, 0.5
    if (col(panel) == 0) { set ylabel (decode[i] ? 'Decode step' : 'Query (token)') offset 0, 0 } else { unset ylabel }
    if (i == panel_n) { set colorbox horizontal user origin screen lm(1), screen 7.5 / height size screen panel_w / width, screen 2.0 / height; set cblabel box_text offset 0, 0.7; set cbtics ('<0.0001' 1e-4, '0.01' 1e-2, '1' 1) scale 0.3 offset 0, 0.5 } else { unset colorbox }
    plot csv every ::begin::end using (column('key')):((column('line') + 0.5) * queries[i] / lines[i]):(valid(3) ? (column('mass') > floor_of_mass ? column('mass') : floor_of_mass) : NaN) with image
    unset label
}
unset multiplot
set output
