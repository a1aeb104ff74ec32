# Memory and reading of a long generation: gnuplot results/bench/memory.gp draws memory.svg beside it from memory.csv, which
#     frontier bench memory --model models/frontier-mini/s --sparsity 0.5 --csv --method tova --method h2o \
#                           --method decoding_snapkv --method snapkv --method quest
# writes: keys that live in a kv head, and keys that a step reads, by decode step after a prompt of 512 tokens.
set datafile separator ','
set terminal svg size 760,330 font 'sans,11'
set output 'results/bench/memory.svg'
set key left top
set xlabel 'Decode step'
set grid
methods = 'dense quest snapkv decoding_snapkv h2o tova'
of(name, value) = strcol('method') eq name ? column(value) : NaN
set multiplot layout 1,2
set ylabel 'Keys that live in a kv head'
plot for [m in methods] 'results/bench/memory.csv' using 'step':(of(m, 'living_keys')) with lines lw 1.5 title m noenhanced
set ylabel 'Keys that a step reads'
unset key
plot for [m in methods] 'results/bench/memory.csv' using 'step':(of(m, 'read_keys')) with lines lw 1.5 title m noenhanced
unset multiplot
