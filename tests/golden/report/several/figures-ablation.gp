# Settings of a method
name = 'ablation'
width = 84
height = 68.6
style = 'paper'
legend = 6.6
legend_rows = 2
legend_letters = 21
legend_width = -1
array title[1]
title[1] = 'quest'
title_n = 1
panel_n = 1
array series[2]
series[1] = 'quest'
series[2] = 'quest(page=64)'
series_n = 2
array dashed[2]
dashed[1] = 1
dashed[2] = 1
dashed_n = 2
array reference[1]
reference[1] = 0.4958333333
reference_n = 1
array reference_low[1]
reference_low[1] = 0.4005412063
reference_low_n = 1
array reference_high[1]
reference_high[1] = 0.5916530931
reference_high_n = 1
has_reference = 1
array missing[1]
missing[1] = ''
missing_n = 1
ylabel_text = 'Score (mean over tasks)'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 0
logarithmic = 0
ymin = 0.3
ymax = 0.65
ystep = 0.1
xmax = 2.545186304
columns = 1

