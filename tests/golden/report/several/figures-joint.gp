# Prefill and decode sparse together
name = 'joint'
width = 84
height = 76
style = 'paper'
legend = 0
array title[1]
title[1] = 'vertical_slash + quest'
title_n = 1
panel_n = 1
array missing[1]
missing[1] = ''
missing_n = 1
array x_tics[1]
x_tics[1] = '(''0'' 0, ''0.5'' 1, ''0.7'' 2, ''0.8'' 3)'
x_tics_n = 1
array y_tics[1]
y_tics[1] = '(''0'' 0, ''0.5'' 1, ''0.7'' 2, ''0.8'' 3)'
y_tics_n = 1
array x_n[1]
x_n[1] = 4
x_n_n = 1
array y_n[1]
y_n[1] = 4
y_n_n = 1
xlabel_text = 'Decode sparsity (requested)'
ylabel_text = 'Prefill sparsity (requested)'
box_text = 'Score, sparse − dense'
zmin = -0.1277777778
zmax = 0.1277777778
numbers = 1
diverging = 1
alike = 0
columns = 1

