# Score against sparsity, by task
name = 'tasks'
width = 84
height = 97.4
style = 'paper'
legend = 9.4
legend_rows = 3
legend_letters = 21
legend_width = -1
array title[4]
title[1] = 'niah'
title[2] = 'vt (high dispersion)'
title[3] = 'cwe (high scope)'
title[4] = 'mean over tasks'
title_n = 4
panel_n = 4
array series[5]
series[1] = 'block_sparse'
series[2] = 'vertical_slash'
series[3] = 'quest'
series[4] = 'quest(page=64)'
series[5] = 'snapkv'
series_n = 5
array dashed[5]
dashed[1] = 0
dashed[2] = 0
dashed[3] = 1
dashed[4] = 1
dashed[5] = 1
dashed_n = 5
array reference[4]
reference[1] = 0.6875
reference[2] = 0.3916666667
reference[3] = 0.4083333333
reference[4] = 0.4958333333
reference_n = 4
array reference_low[4]
reference_low[1] = 0.476548388
reference_low[2] = 0.2538241637
reference_low[3] = 0.2827876961
reference_low[4] = 0.4005412063
reference_low_n = 4
array reference_high[4]
reference_high[1] = 0.8194993054
reference_high[2] = 0.5706218812
reference_high[3] = 0.5752970234
reference_high[4] = 0.5916530931
reference_high_n = 4
has_reference = 1
array missing[4]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing_n = 4
ylabel_text = 'Score'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 0
logarithmic = 0
ymin = 0.1
ymax = 0.9
ystep = 0.2
xmax = 2.546922155
columns = 2

