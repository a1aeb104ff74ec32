# Retrieval by depth and length
name = 'depth-mini-8m'
width = 129
height = 103
style = 'paper'
legend = 0
array title[6]
title[1] = 'dense'
title[2] = 'block_sparse'
title[3] = 'vertical_slash'
title[4] = 'quest'
title[5] = 'quest(page=64)'
title[6] = 'snapkv'
title_n = 6
panel_n = 6
array missing[6]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing[6] = ''
missing_n = 6
array x_tics[6]
x_tics[1] = '(''1k'' 0, ''4k'' 1)'
x_tics[2] = '(''1k'' 0, ''4k'' 1)'
x_tics[3] = '(''1k'' 0, ''4k'' 1)'
x_tics[4] = '(''1k'' 0, ''4k'' 1)'
x_tics[5] = '(''1k'' 0, ''4k'' 1)'
x_tics[6] = '(''1k'' 0, ''4k'' 1)'
x_tics_n = 6
array y_tics[6]
y_tics[1] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[2] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[3] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[4] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[5] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics[6] = '(''0'' -0.5, ''0.2'' 0.5, ''0.4'' 1.5, ''0.6'' 2.5, ''0.8'' 3.5, ''1'' 4.5)'
y_tics_n = 6
array x_n[6]
x_n[1] = 2
x_n[2] = 2
x_n[3] = 2
x_n[4] = 2
x_n[5] = 2
x_n[6] = 2
x_n_n = 6
array y_n[6]
y_n[1] = 5
y_n[2] = 5
y_n[3] = 5
y_n[4] = 5
y_n[5] = 5
y_n[6] = 5
y_n_n = 6
xlabel_text = 'Input (tokens)'
ylabel_text = 'Depth (share of context)'
box_text = 'Score (strict)'
zmin = 0
zmax = 1
numbers = 1
diverging = 0
alike = 1
columns = 3

