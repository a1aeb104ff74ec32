# isoCost frontier
name = 'frontier-1'
width = 174
height = 119.4
style = 'paper'
legend = 9.4
legend_rows = 3
legend_letters = 23
legend_width = -3
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
array length[3]
length[1] = '1024'
length[2] = '2048'
length[3] = '4096'
length_n = 3
array length_label[3]
length_label[1] = '1024 tokens'
length_label[2] = '2048 tokens'
length_label[3] = '4096 tokens'
length_label_n = 3
array unit[2]
unit[1] = 'Prefill (TFLOP)'
unit[2] = 'Decode (M elements/step)'
unit_n = 2
array divide[2]
divide[1] = 1e+12
divide[2] = 1000000
divide_n = 2
array tics[6]
tics[1] = '0.1'
tics[2] = '0.2'
tics[3] = '1'
tics[4] = '(50, 70, 100)'
tics[5] = '(70, 100, 200)'
tics[6] = '(200, 300)'
tics_n = 6
array logarithmic[6]
logarithmic[1] = 0
logarithmic[2] = 0
logarithmic[3] = 0
logarithmic[4] = 1
logarithmic[5] = 1
logarithmic[6] = 1
logarithmic_n = 6
array low[6]
low[1] = 1.111154206
low[2] = 2.414893631
low[3] = 5.59883899
low[4] = 35.76466968
low[5] = 63.82617002
low[6] = 120.0922492
low_n = 6
array high[6]
high[1] = 1.44921599
high[2] = 3.787768877
high[3] = 11.21912169
high[4] = 111.4749219
high[5] = 215.6965719
high[6] = 424.3694089
high_n = 6
array missing[6]
missing[1] = ''
missing[2] = ''
missing[3] = ''
missing[4] = ''
missing[5] = ''
missing[6] = ''
missing_n = 6
ymin = 0.1
ymax = 0.71

