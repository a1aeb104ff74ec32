# Cost of estimation
name = 'estimation'
width = 174
height = 114.6
style = 'paper'
legend = 6.6
legend_rows = 2
legend_letters = 13
legend_width = -1
array title[5]
title[1] = '1024 tokens'
title[2] = '2048 tokens'
title[3] = '4096 tokens'
title[4] = '8192 tokens'
title[5] = '16384 tokens'
title_n = 5
panel_n = 5
array series[7]
series[1] = 'block_sparse'
series[2] = 'flex_prefill'
series[3] = 'vertical_slash'
series[4] = 'ada_snapkv'
series[5] = 'quest'
series[6] = 'snapkv'
series[7] = 'streaming'
series_n = 7
array dashed[7]
dashed[1] = 0
dashed[2] = 0
dashed[3] = 0
dashed[4] = 1
dashed[5] = 1
dashed[6] = 1
dashed[7] = 1
dashed_n = 7
array reference[5]
reference[1] = NaN
reference[2] = NaN
reference[3] = NaN
reference[4] = NaN
reference[5] = NaN
reference_n = 5
array reference_low[5]
reference_low[1] = NaN
reference_low[2] = NaN
reference_low[3] = NaN
reference_low[4] = NaN
reference_low[5] = NaN
reference_low_n = 5
array reference_high[5]
reference_high[1] = NaN
reference_high[2] = NaN
reference_high[3] = NaN
reference_high[4] = NaN
reference_high[5] = NaN
reference_high_n = 5
has_reference = 0
array missing[5]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing_n = 5
ylabel_text = 'FLOPs of the phase'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 1
logarithmic = 0
ymin = 0
ymax = 20
ystep = 5
xmax = 1.972138403
columns = 3

