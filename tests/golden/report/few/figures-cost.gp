# What cost is made of
name = 'cost'
width = 84
height = 106.6
style = 'paper'
legend = 6.6
legend_rows = 2
legend_letters = 21
legend_width = -2
array title[2]
title[1] = 'mini-8m'
title[2] = ''
title_n = 2
array term[4]
term[1] = 'projections'
term[2] = 'attention, cache'
term[3] = 'MLP'
term[4] = 'head, embedding'
term_n = 4
tics = '(''1k'' 1, ''2k'' 2, ''4k'' 3, ''8k'' 4, ''16k'' 5, ''128k'' 6)'
x_n = 6
sparse_label = 'sparsity 0.8'
columns = 1

