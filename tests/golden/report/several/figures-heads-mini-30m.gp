# Density of layers and heads
name = 'heads-mini-30m'
width = 174
height = 180
style = 'paper'
legend = 0
array title[5]
title[1] = 'block_sparse, 4096 tokens, sparsity 0.80'
title[2] = 'vertical_slash, 4096 tokens, sparsity 0.80'
title[3] = 'quest, 4096 tokens, sparsity 0.80'
title[4] = 'quest(page=64), 4096 tokens, sparsity 0.80'
title[5] = 'snapkv, 4096 tokens, sparsity 0.80'
title_n = 5
panel_n = 5
array missing[5]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing_n = 5
array x_tics[5]
x_tics[1] = '4'
x_tics[2] = '4'
x_tics[3] = '4'
x_tics[4] = '4'
x_tics[5] = '4'
x_tics_n = 5
array y_tics[5]
y_tics[1] = '4'
y_tics[2] = '4'
y_tics[3] = '4'
y_tics[4] = '4'
y_tics[5] = '4'
y_tics_n = 5
array x_n[5]
x_n[1] = 8
x_n[2] = 8
x_n[3] = 8
x_n[4] = 8
x_n[5] = 8
x_n_n = 5
array y_n[5]
y_n[1] = 8
y_n[2] = 8
y_n[3] = 8
y_n[4] = 8
y_n[5] = 8
y_n_n = 5
xlabel_text = 'Query head'
ylabel_text = 'Layer'
box_text = 'Density (executed / causal pairs)'
zmin = 0
zmax = 0.306114465
numbers = 0
diverging = 0
alike = 1
columns = 2

