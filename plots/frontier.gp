# isoCost frontiers: score against cost, one point a model, method and sparsity; the line is the Pareto frontier of the panel.
# Rows of panels are phases, columns are lengths. Arms beyond the first `named` are dots, one entry of the legend. Set above: phase[],
# phase_label[], length[], length_label[], arm[], mark_of[], named, model[], unit[], divide[] (by phase), tics[], logarithmic[], low[], high[], missing[] (by panel), ymin, ymax, by_model.

columns = length_n; rows = phase_n
down_mm = 12.0
eval layout
set multiplot
do for [p = 1:phase_n] {
    do for [l = 1:length_n] {
        panel = (p - 1) * columns + l
        eval place
        title_of_panel = (p == 1) ? length_label[l] : ''; eval heading
        note_of_panel = missing[panel]; eval note
        set yrange [ymin:ymax]
        if (l == 1) { set ylabel 'Score (mean over tasks)' offset 1, 0; set format y '%g' } else { unset ylabel; set format y '' }
        set xlabel unit[p] offset 0, 0.5
        if (logarithmic[panel]) { set logscale x } else { unset logscale x }
        eval 'set xtics '.tics[panel]
        set xrange [low[panel]:high[panel]]
        here(x) = (strcol('phase') eq phase[p] && strcol('tokens') eq length[l]) ? x / divide[p] : NaN
        on(x) = strcol('on_frontier') eq '1' ? x : NaN
        off(x) = strcol('on_frontier') eq '1' ? NaN : x
        of(m, a, x) = (column('model_id') == m && column('arm_id') == a) ? x : NaN
        csv = name.'.csv'
        others = named + 1
        plot csv using (on(here(column('cost')))):(column('score')) with lines linewidth 2.5 linecolor rgb '#c8c8c8', \
            for [m = 1:model_n] for [a = 2:named] csv using (of(m, a, here(column('cost')))):(column('score')) with lines linewidth 0.4 dashtype dash(by_model ? m : 1) linecolor rgb hue(by_model ? m : a - 1), \
            csv using (on(here(column('cost')))):(column('score')):(column('low')):(column('high')) with yerrorbars pointtype 0 linewidth 0.5 linecolor rgb grey, \
            for [m = 1:model_n] for [a = others:arm_n] csv using (of(m, a, here(column('cost')))):(column('score')) with points pointtype 7 pointsize 0.2 linecolor rgb (by_model ? hue(m) : grey), \
            for [m = 1:model_n] for [a = 1:named] csv using (off(of(m, a, here(column('cost'))))):(column('score')) with points pointtype (a == 1 && by_model ? star(m) : hollow(mark_of[a])) pointsize (a == 1 ? 0.8 : 0.55) linewidth 0.6 linecolor rgb (a == 1 && !by_model ? colour[8] : hue(by_model ? m : a - 1)), \
            for [m = 1:model_n] for [a = 1:named] csv using (on(of(m, a, here(column('cost'))))):(column('score')) with points pointtype (a == 1 && by_model ? star(m) : mark(mark_of[a])) pointsize 0.8 linecolor rgb (a == 1 && !by_model ? colour[8] : hue(by_model ? m : a - 1))
        unset label
    }
}
eval legend_frame
models = by_model ? "for [m = 1:model_n] NaN with points pointtype (m > 8 ? star(m) : 5) linecolor rgb hue(m) title fit(model[m]), " : ""
dots = named < arm_n ? "NaN with points pointtype 7 pointsize 0.2 linecolor rgb grey title sprintf('%d others', arm_n - named), " : ""
eval "plot ".models."for [a = 1:named] NaN with points pointtype mark(mark_of[a]) linecolor rgb (by_model ? grey : a == 1 ? colour[8] : hue(a - 1)) title fit(arm[a]), ".dots."NaN with lines linewidth 2.5 linecolor rgb '#c8c8c8' title 'Pareto frontier (filled)'"
unset multiplot
set output
