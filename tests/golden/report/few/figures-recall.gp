# Attention mass and score
name = 'recall'
width = 84
height = 82.2
style = 'paper'
legend = 12.2
legend_rows = 4
legend_letters = 21
legend_width = -1
array arm[7]
arm[1] = 'block_sparse'
arm[2] = 'flex_prefill'
arm[3] = 'vertical_slash'
arm[4] = 'ada_snapkv'
arm[5] = 'quest'
arm[6] = 'snapkv'
arm[7] = 'streaming'
arm_n = 7
array dashed[7]
dashed[1] = 0
dashed[2] = 0
dashed[3] = 0
dashed[4] = 1
dashed[5] = 1
dashed[6] = 1
dashed[7] = 1
dashed_n = 7
xmin = 0.7
ymin = 0.3
ymax = 1.02

