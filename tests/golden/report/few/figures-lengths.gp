# Length: relative error
name = 'lengths'
width = 174
height = 163.8
style = 'paper'
legend = 3.8
legend_rows = 1
legend_letters = 17
legend_width = -1
array title[7]
title[1] = 'block_sparse'
title[2] = 'flex_prefill'
title[3] = 'vertical_slash'
title[4] = 'ada_snapkv'
title[5] = 'quest'
title[6] = 'snapkv'
title[7] = 'streaming'
title_n = 7
panel_n = 7
array series[5]
series[1] = '1024 tokens'
series[2] = '2048 tokens'
series[3] = '4096 tokens'
series[4] = '8192 tokens'
series[5] = '16384 tokens'
series_n = 5
array dashed[5]
dashed[1] = 0
dashed[2] = 0
dashed[3] = 0
dashed[4] = 0
dashed[5] = 0
dashed_n = 5
array reference[7]
reference[1] = NaN
reference[2] = NaN
reference[3] = NaN
reference[4] = NaN
reference[5] = NaN
reference[6] = NaN
reference[7] = NaN
reference_n = 7
array reference_low[7]
reference_low[1] = NaN
reference_low[2] = NaN
reference_low[3] = NaN
reference_low[4] = NaN
reference_low[5] = NaN
reference_low[6] = NaN
reference_low[7] = NaN
reference_low_n = 7
array reference_high[7]
reference_high[1] = NaN
reference_high[2] = NaN
reference_high[3] = NaN
reference_high[4] = NaN
reference_high[5] = NaN
reference_high[6] = NaN
reference_high[7] = NaN
reference_high_n = 7
has_reference = 0
array missing[7]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing[6] = ''
missing[7] = ''
missing_n = 7
ylabel_text = 'Relative error'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 1
logarithmic = 0
ymin = 0
ymax = 80
ystep = 20
xmax = 1.972138403
columns = 3

