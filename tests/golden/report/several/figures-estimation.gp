# Cost of estimation
name = 'estimation'
width = 84
height = 55.4
style = 'paper'
legend = 9.4
legend_rows = 3
legend_letters = 21
legend_width = -1
array title[2]
title[1] = '1024 tokens'
title[2] = '4096 tokens'
title_n = 2
panel_n = 2
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
array reference[2]
reference[1] = NaN
reference[2] = NaN
reference_n = 2
array reference_low[2]
reference_low[1] = NaN
reference_low[2] = NaN
reference_low_n = 2
array reference_high[2]
reference_high[1] = NaN
reference_high[2] = NaN
reference_high_n = 2
has_reference = 0
array missing[2]
missing[1] = ''
missing[2] = ''
missing_n = 2
ylabel_text = 'FLOPs of the phase'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 1
logarithmic = 0
ymin = 0
ymax = 15
ystep = 5
xmax = 2.550354774
columns = 2

