# Score against recall of attention mass, one point a model, length, method and sparsity. Set above: arm[], dashed[], ymin, ymax,
# xmin.

columns = 1; rows = 1
eval layout
csv = name.'.csv'
set multiplot
panel = 1; eval place
set xrange [xmin:1.01]; set yrange [ymin:ymax]
set xlabel 'Attention mass recalled' offset 0, 0.5
set ylabel 'Score, sparse / dense' offset 1, 0
of(a, v) = column('arm_id') == a ? v : NaN
plot 1 with lines dashtype 3 linewidth 0.8 linecolor rgb colour[8], \
    for [a = 1:arm_n] csv using (of(a, column('recall'))):(column('value')) with points pointtype (dashed[a] ? mark(a) - 1 : mark(a)) pointsize 0.6 linewidth 0.7 linecolor rgb hue(a)
eval legend_frame
plot for [a = 1:arm_n] NaN with points pointtype (dashed[a] ? mark(a) - 1 : mark(a)) linecolor rgb hue(a) title fit(arm[a])
unset multiplot
set output
