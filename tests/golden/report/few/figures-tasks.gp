# Score against sparsity, by task
name = 'tasks'
width = 174
height = 114.6
style = 'paper'
legend = 6.6
legend_rows = 2
legend_letters = 13
legend_width = -1
array title[5]
title[1] = 'niah'
title[2] = 'story_retrieval'
title[3] = 'vt (high dispersion)'
title[4] = 'cwe (high scope)'
title[5] = 'mean over tasks'
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
reference[1] = 0.7166666667
reference[2] = 0.615
reference[3] = 0.348
reference[4] = 0.3
reference[5] = 0.4949166667
reference_n = 5
array reference_low[5]
reference_low[1] = 0.6711457905
reference_low[2] = 0.5832150098
reference_low[3] = 0.3057031973
reference_low[4] = 0.2682968553
reference_low[5] = 0.4769040835
reference_low_n = 5
array reference_high[5]
reference_high[1] = 0.7581711979
reference_high[2] = 0.6440929933
reference_high[3] = 0.3934512321
reference_high[4] = 0.3367218768
reference_high[5] = 0.5129803447
reference_high_n = 5
has_reference = 1
array missing[5]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing_n = 5
ylabel_text = 'Score'
xlabel_text = 'Sparsity (executed)'
share = 0
percent = 0
logarithmic = 0
ymin = 0
ymax = 0.8
ystep = 0.2
xmax = 1.970898699
columns = 3

