# What a model's cost is made of, dense and at the sparsity of the second bar of each pair; 1 is dense at that length. Rows of
# panels are phases, columns are models. Set above: title[], term[], tics, x_n, columns, sparse_label.

rows = 2
eval layout
csv = name.'.csv'
set multiplot
set yrange [0:1.12]; set ytics 0.25
set xrange [0.4:x_n + 0.6]
set style fill solid noborder
set grid noxtics
eval 'set xtics '.tics
do for [panel = 1:2 * columns] {
    eval place
    title_of_panel = title[panel]; eval heading
    if (col(panel) == 0) { set ylabel (panel == 1 ? 'Prefill FLOPs / dense' : 'Decode reads / dense') offset 1, 0; set format y '%g' } else { unset ylabel; set format y '' }
    if (panel > columns) { set xlabel 'Tokens (dense | '.sparse_label.')' offset 0, 0.5 } else { unset xlabel }
    of(t, v) = (column('panel_id') == panel && column('term_id') == t) ? v : NaN
    plot for [t = 1:term_n] csv using (of(t, column('x'))):(column('from')):(column('x') - 0.18):(column('x') + 0.18):(column('from')):(column('to')) with boxxyerror linecolor rgb colour[t], \
        csv using (of(0, column('x'))):(column('to')):(sprintf('%.2f', column('to'))) with labels font ',5.5' offset 0, 0.4
    unset label
}
eval legend_frame
plot for [t = 1:term_n] NaN with boxes linecolor rgb colour[t] title term[t]
unset multiplot
set output
