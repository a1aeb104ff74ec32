# isoCost frontier, cost as executed
name = 'frontier_exact'
width = 120
height = 125
style = 'paper'
legend = 15
legend_rows = 5
legend_letters = 35
legend_width = -4
array arm[6]
arm[1] = 'dense'
arm[2] = 'block_sparse, prefill'
arm[3] = 'vertical_slash, prefill'
arm[4] = 'quest, decode'
arm[5] = 'quest(page=64), decode'
arm[6] = 'snapkv, decode'
arm_n = 6
array mark_of[6]
mark_of[1] = 0
mark_of[2] = 1
mark_of[3] = 2
mark_of[4] = 3
mark_of[5] = 4
mark_of[6] = 5
mark_of_n = 6
named = 6
array model[2]
model[1] = 'mini-8m'
model[2] = 'mini-30m'
model_n = 2
by_model = 1
array phase[2]
phase[1] = 'prefill'
phase[2] = 'decode'
phase_n = 2
array length[2]
length[1] = '1024'
length[2] = '4096'
length_n = 2
array length_label[2]
length_label[1] = '1024 tokens'
length_label[2] = '4096 tokens'
length_label_n = 2
array unit[2]
unit[1] = 'Prefill (TFLOP)'
unit[2] = 'Decode (M elements/step)'
unit_n = 2
array divide[2]
divide[1] = 1e+12
divide[2] = 1000000
divide_n = 2
array tics[4]
tics[1] = '(1, 2, 3)'
tics[2] = '(5, 7, 10, 20)'
tics[3] = '(30, 50, 70, 100)'
tics[4] = '(70, 100, 200, 300)'
tics_n = 4
array logarithmic[4]
logarithmic[1] = 1
logarithmic[2] = 1
logarithmic[3] = 1
logarithmic[4] = 1
logarithmic_n = 4
array low[4]
low[1] = 0.9834687679
low[2] = 4.370061897
low[3] = 20.95993308
low[4] = 62.12987466
low_n = 4
array high[4]
high[1] = 4.698063531
high[2] = 25.99001405
high[3] = 139.9835712
high[4] = 465.3531994
high_n = 4
array missing[4]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing_n = 4
ymin = 0.1
ymax = 0.91

