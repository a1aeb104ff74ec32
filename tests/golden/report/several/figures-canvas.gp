# One head's attention, dense and sparse
name = 'canvas'
width = 174
height = 98
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
keys[1] = 3954
keys[2] = 3954
keys[3] = 3954
keys[4] = 3974
keys[5] = 3974
keys[6] = 3974
keys[7] = 3974
keys_n = 7
array queries[7]
queries[1] = 3954
queries[2] = 3954
queries[3] = 3954
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
legend = 0
array title[7]
title[1] = 'dense'
title[2] = 'block_sparse 0.8'
title[3] = 'vertical_slash 0.8'
title[4] = 'dense'
title[5] = 'quest 0.8'
title[6] = 'quest(page=64) 0.8'
title[7] = 'snapkv 0.8'
title_n = 7
box_text = 'Attention mass on 31 keys'

