# Length: score lost
name = 'lengths_absolute'
width = 174
height = 111.8
style = 'paper'
legend = 3.8
legend_rows = 1
legend_letters = 55
legend_width = -1
array title[5]
title[1] = 'block_sparse'
title[2] = 'vertical_slash'
title[3] = 'quest'
title[4] = 'quest(page=64)'
title[5] = 'snapkv'
title_n = 5
panel_n = 5
array series[2]
series[1] = '1024 tokens'
series[2] = '4096 tokens'
series_n = 2
array dashed[2]
dashed[1] = 0
dashed[2] = 0
dashed_n = 2
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
ylabel_text = 'Score lost'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 0
logarithmic = 0
ymin = -0.3
ymax = 0.5
ystep = 0.2
xmax = 2.550354774
columns = 3

