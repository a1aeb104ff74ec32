# Retrieval by depth and length
name = 'depth'
width = 174
height = 103
style = 'paper'
legend = 0
array title[8]
title[1] = 'dense'
title[2] = 'block_sparse'
title[3] = 'flex_prefill'
title[4] = 'vertical_slash'
title[5] = 'ada_snapkv'
title[6] = 'quest'
title[7] = 'snapkv'
title[8] = 'streaming'
title_n = 8
panel_n = 8
array missing[8]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing[6] = ''
missing[7] = ''
missing[8] = ''
missing_n = 8
array x_tics[8]
x_tics[1] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics[2] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics[3] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics[4] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics[5] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics[6] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics[7] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics[8] = '(''1k'' 0, ''2k'' 1, ''4k'' 2, ''8k'' 3, ''16k'' 4)'
x_tics_n = 8
array y_tics[8]
y_tics[1] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[2] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[3] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[4] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[5] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[6] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[7] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[8] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics_n = 8
array x_n[8]
x_n[1] = 5
x_n[2] = 5
x_n[3] = 5
x_n[4] = 5
x_n[5] = 5
x_n[6] = 5
x_n[7] = 5
x_n[8] = 5
x_n_n = 8
array y_n[8]
y_n[1] = 5
y_n[2] = 5
y_n[3] = 5
y_n[4] = 5
y_n[5] = 5
y_n[6] = 5
y_n[7] = 5
y_n[8] = 5
y_n_n = 8
xlabel_text = 'Input (tokens)'
ylabel_text = 'Depth (share of context)'
box_text = 'Score (strict)'
zmin = 0
zmax = 1
numbers = 1
diverging = 0
alike = 1
columns = 4

