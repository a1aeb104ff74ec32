# Model size
name = 'models'
width = 174
height = 163.8
style = 'paper'
legend = 3.8
legend_rows = 1
legend_letters = 55
legend_width = -1
array title[10]
title[1] = 'block_sparse: easy tasks'
title[2] = 'block_sparse: hard tasks'
title[3] = 'vertical_slash: easy tasks'
title[4] = 'vertical_slash: hard tasks'
title[5] = 'quest: easy tasks'
title[6] = 'quest: hard tasks'
title[7] = 'quest(page=64): easy tasks'
title[8] = 'quest(page=64): hard tasks'
title[9] = 'snapkv: easy tasks'
title[10] = 'snapkv: hard tasks'
title_n = 10
panel_n = 10
array series[2]
series[1] = 'mini-8m'
series[2] = 'mini-30m'
series_n = 2
array dashed[2]
dashed[1] = 0
dashed[2] = 0
dashed_n = 2
array reference[10]
reference[1] = NaN
reference[2] = NaN
reference[3] = NaN
reference[4] = NaN
reference[5] = NaN
reference[6] = NaN
reference[7] = NaN
reference[8] = NaN
reference[9] = NaN
reference[10] = NaN
reference_n = 10
array reference_low[10]
reference_low[1] = NaN
reference_low[2] = NaN
reference_low[3] = NaN
reference_low[4] = NaN
reference_low[5] = NaN
reference_low[6] = NaN
reference_low[7] = NaN
reference_low[8] = NaN
reference_low[9] = NaN
reference_low[10] = NaN
reference_low_n = 10
array reference_high[10]
reference_high[1] = NaN
reference_high[2] = NaN
reference_high[3] = NaN
reference_high[4] = NaN
reference_high[5] = NaN
reference_high[6] = NaN
reference_high[7] = NaN
reference_high[8] = NaN
reference_high[9] = NaN
reference_high[10] = NaN
reference_high_n = 10
has_reference = 0
array missing[10]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing[6] = ''
missing[7] = ''
missing[8] = ''
missing[9] = ''
missing[10] = ''
missing_n = 10
ylabel_text = 'Score'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 0
logarithmic = 0
ymin = 0
ymax = 1
ystep = 0.2
xmax = 2.548326293
columns = 4

