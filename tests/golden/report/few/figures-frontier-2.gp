# isoCost frontier
name = 'frontier-2'
width = 120
height = 125
style = 'paper'
legend = 15
legend_rows = 5
legend_letters = 35
legend_width = -4
array arm[8]
arm[1] = 'dense'
arm[2] = 'block_sparse'
arm[3] = 'flex_prefill'
arm[4] = 'vertical_slash'
arm[5] = 'ada_snapkv'
arm[6] = 'quest'
arm[7] = 'snapkv'
arm[8] = 'streaming'
arm_n = 8
array mark_of[8]
mark_of[1] = 0
mark_of[2] = 1
mark_of[3] = 2
mark_of[4] = 3
mark_of[5] = 4
mark_of[6] = 5
mark_of[7] = 6
mark_of[8] = 1
mark_of_n = 8
named = 8
array model[1]
model[1] = 'mini-8m'
model_n = 1
by_model = 0
array phase[2]
phase[1] = 'prefill'
phase[2] = 'decode'
phase_n = 2
array length[2]
length[1] = '8192'
length[2] = '16384'
length_n = 2
array length_label[2]
length_label[1] = '8192 tokens'
length_label[2] = '16384 tokens'
length_label_n = 2
array unit[2]
unit[1] = 'Prefill (TFLOP)'
unit[2] = 'Decode (G elements/step)'
unit_n = 2
array divide[2]
divide[1] = 1e+12
divide[2] = 1000000000
divide_n = 2
array tics[4]
tics[1] = '5'
tics[2] = '20'
tics[3] = '(0.3, 0.5, 0.7)'
tics[4] = '(0.5, 0.7, 1)'
tics_n = 4
array logarithmic[4]
logarithmic[1] = 0
logarithmic[2] = 0
logarithmic[3] = 1
logarithmic[4] = 1
logarithmic_n = 4
array low[4]
low[1] = 14.27961603
low[2] = 40.89951142
low[3] = 0.2322122
low[4] = 0.4560211498
low_n = 4
array high[4]
high[1] = 37.36758386
high[2] = 135.400027
high[3] = 0.8413498823
high[4] = 1.67247208
high_n = 4
array missing[4]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing_n = 4
ymin = 0.2
ymax = 0.51

