# KL(dense || sparse) against sparsity on real weights: gnuplot results/bench/real-weights.gp draws real-weights.svg beside it from
# real-weights.csv, which tests/peers/few_samples.py --csv wrote (real-weights.txt): the natural text, 8144 tokens, ten samples.
set datafile separator ','
set terminal svg size 820,560 font 'sans,11'
set output 'results/bench/real-weights.svg'
set key left top
set grid
set logscale y
set format y '10^{%L}'
set xrange [0.3:1]
set xlabel 'Sparsity'
set ylabel 'KL(dense ‖ sparse), nat'
kl_of(model, phase, name) = strcol('model') eq model && strcol('task') eq 'text' && strcol('length') eq '8144' && \
    strcol('phase') eq phase && strcol('method') eq name ? column('kl') : NaN
methods(phase) = phase eq 'prefill' ? 'vertical_slash block_sparse flex_prefill' : 'snapkv ada_snapkv quest'
set multiplot layout 2,2
do for [model in 'smollm2-135m gemma3-270m'] {
    do for [phase in 'prefill decode'] {
        set title sprintf('%s, %s', model, phase) noenhanced
        plot for [m in methods(phase)] 'results/bench/real-weights.csv' using 'sparsity':(kl_of(model, phase, m)) \
            with linespoints pt 7 ps 0.5 lw 1.5 title m noenhanced
    }
}
unset multiplot
