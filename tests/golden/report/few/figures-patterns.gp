# Patterns that the methods chose
name = 'patterns'
width = 174
height = 92.8
style = 'paper'
panel_n = 7
columns = 4
rows = 2
side = 128
array place_of[7]
place_of[1] = 1
place_of[2] = 2
place_of[3] = 3
place_of[4] = 5
place_of[5] = 6
place_of[6] = 7
place_of[7] = 8
place_of_n = 7
array lines[7]
lines[1] = 128
lines[2] = 128
lines[3] = 128
lines[4] = 10
lines[5] = 10
lines[6] = 10
lines[7] = 10
lines_n = 7
array keys[7]
keys[1] = 15757
keys[2] = 15757
keys[3] = 15757
keys[4] = 15777
keys[5] = 15777
keys[6] = 15777
keys[7] = 15777
keys_n = 7
array queries[7]
queries[1] = 15757
queries[2] = 15757
queries[3] = 15757
queries[4] = 10
queries[5] = 10
queries[6] = 10
queries[7] = 10
queries_n = 7
array decode[7]
decode[1] = 0
decode[2] = 0
decode[3] = 0
decode[4] = 1
decode[5] = 1
decode[6] = 1
decode[7] = 1
decode_n = 7
legend = 3.8
legend_rows = 1
legend_letters = 55
legend_width = -1
array title[7]
title[1] = 'block_sparse'
title[2] = 'flex_prefill'
title[3] = 'vertical_slash'
title[4] = 'ada_snapkv'
title[5] = 'quest'
title[6] = 'snapkv'
title[7] = 'streaming'
title_n = 7
array budget[2]
budget[1] = 'budget 0.3'
budget[2] = 'budget 0.5'
budget_n = 2
array tint[2]
tint[1] = 4456788
tint[2] = 16639781
tint_n = 2

