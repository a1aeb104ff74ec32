# What cost is made of
name = 'cost'
width = 174
height = 103.8
style = 'paper'
legend = 3.8
legend_rows = 1
legend_letters = 23
legend_width = -2
array title[4]
title[1] = 'mini-8m'
title[2] = 'mini-30m'
title[3] = ''
title[4] = ''
title_n = 4
array term[4]
term[1] = 'projections'
term[2] = 'attention, cache'
term[3] = 'MLP'
term[4] = 'head, embedding'
term_n = 4
tics = '(''1k'' 1, ''4k'' 2, ''16k'' 3, ''128k'' 4)'
x_n = 4
sparse_label = 'sparsity 0.8'
columns = 2

