# Attention mass and score
name = 'recall'
width = 84
height = 79.4
style = 'paper'
legend = 9.4
legend_rows = 3
legend_letters = 21
legend_width = -1
array arm[5]
arm[1] = 'block_sparse'
arm[2] = 'vertical_slash'
arm[3] = 'quest'
arm[4] = 'quest(page=64)'
arm[5] = 'snapkv'
arm_n = 5
array dashed[5]
dashed[1] = 0
dashed[2] = 0
dashed[3] = 1
dashed[4] = 1
dashed[5] = 1
dashed_n = 5
xmin = 0.7
ymin = 0.4
ymax = 1.42

