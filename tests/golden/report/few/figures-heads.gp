# Density of layers and heads
name = 'heads'
width = 174
height = 236
style = 'paper'
legend = 0
array title[7]
title[1] = 'block_sparse, 16384 tokens, sparsity 0.70'
title[2] = 'flex_prefill, 16384 tokens, sparsity 0.70'
title[3] = 'vertical_slash, 16384 tokens, sparsity 0.70'
title[4] = 'ada_snapkv, 16384 tokens, sparsity 0.70'
title[5] = 'quest, 16384 tokens, sparsity 0.70'
title[6] = 'snapkv, 16384 tokens, sparsity 0.70'
title[7] = 'streaming, 16384 tokens, sparsity 0.70'
title_n = 7
panel_n = 7
array missing[7]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing[6] = ''
missing[7] = ''
missing_n = 7
array x_tics[7]
x_tics[1] = '1'
x_tics[2] = '1'
x_tics[3] = '1'
x_tics[4] = '1'
x_tics[5] = '1'
x_tics[6] = '1'
x_tics[7] = '1'
x_tics_n = 7
array y_tics[7]
y_tics[1] = '4'
y_tics[2] = '4'
y_tics[3] = '4'
y_tics[4] = '4'
y_tics[5] = '4'
y_tics[6] = '4'
y_tics[7] = '4'
y_tics_n = 7
array x_n[7]
x_n[1] = 4
x_n[2] = 4
x_n[3] = 4
x_n[4] = 4
x_n[5] = 4
x_n[6] = 4
x_n[7] = 4
x_n_n = 7
array y_n[7]
y_n[1] = 6
y_n[2] = 6
y_n[3] = 6
y_n[4] = 6
y_n[5] = 6
y_n[6] = 6
y_n[7] = 6
y_n_n = 7
xlabel_text = 'Query head'
ylabel_text = 'Layer'
box_text = 'Density (executed / causal pairs)'
zmin = 0
zmax = 0.4553813711
numbers = 0
diverging = 0
alike = 1
columns = 2

