# What methods compute of one head's attention: a panel a method, keys to the right, queries downward (prefill) or steps of
# decode; colours are in the CSV. Set above: title[], panel_n, place_of[], lines[], keys[], queries[], decode[], side, budget[],
# tint[], columns, rows.

down_mm = 13.0; across_mm = 11.0
left_mm = 15.0; right_mm = 6.0
eval layout
short(n) = n < 2048 ? sprintf('%d', n) : sprintf('%.3gk', n / 1000.0)
csv = name.'.csv'
set datafile missing 'none'
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
    plot csv every ::begin::end using (column('key')):((column('line') + 0.5) * queries[i] / lines[i]):(column('red')):(column('green')):(column('blue')) with rgbimage
    unset label
}
eval legend_frame
set style fill solid noborder
plot for [k = 1:budget_n] NaN with boxes linecolor rgb int(tint[k]) title budget[k]
unset multiplot
set output
