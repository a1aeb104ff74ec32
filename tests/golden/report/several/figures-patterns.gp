# Patterns that the methods chose
name = 'patterns'
width = 129
height = 92.8
style = 'paper'
panel_n = 5
columns = 3
rows = 2
side = 128
array place_of[5]
place_of[1] = 1
place_of[2] = 2
place_of[3] = 4
place_of[4] = 5
place_of[5] = 6
place_of_n = 5
array lines[5]
lines[1] = 128
lines[2] = 128
lines[3] = 10
lines[4] = 10
lines[5] = 10
lines_n = 5
array keys[5]
keys[1] = 3954
keys[2] = 3954
keys[3] = 3974
keys[4] = 3974
keys[5] = 3974
keys_n = 5
array queries[5]
queries[1] = 3954
queries[2] = 3954
queries[3] = 10
queries[4] = 10
queries[5] = 10
queries_n = 5
array decode[5]
decode[1] = 0
decode[2] = 0
decode[3] = 1
decode[4] = 1
decode[5] = 1
decode_n = 5
legend = 3.8
legend_rows = 1
legend_letters = 22
legend_width = -1
array title[5]
title[1] = 'block_sparse'
title[2] = 'vertical_slash'
title[3] = 'quest'
title[4] = 'quest(page=64)'
title[5] = 'snapkv'
title_n = 5
array budget[3]
budget[1] = 'budget 0.2'
budget[2] = 'budget 0.3'
budget[3] = 'budget 0.5'
budget_n = 3
array tint[3]
tint[1] = 4456788
tint[2] = 2783374
tint[3] = 16639781
tint_n = 3

