# Shared by all figures: terminal, colours, marks, places. `width`, `height` (mm), `name` and `style` are set above.
#   gnuplot NAME.gp                      draws NAME.png
#   gnuplot -e "format='pdf'" NAME.gp    draws NAME.pdf (or svg)

if (!exists('format')) format = 'png'
larger = (style eq 'slides') ? 1.6 : 1.0       # slides: the same picture, everything larger
points = 7 * larger                            # of text
if (format eq 'png') {
    eval sprintf("set terminal pngcairo noenhanced size %d,%d font 'Sans,7' fontscale %g linewidth %g dashlength 0.6 pointscale %g background '#ffffff'", \
                 width * larger / 25.4 * 300, height * larger / 25.4 * 300, 3.125 * larger, 2.1 * larger, 2.1 * larger)
}
if (format eq 'pdf') {
    eval sprintf("set terminal pdfcairo noenhanced size %gcm,%gcm font 'Sans,7' fontscale %g linewidth %g dashlength 0.6 pointscale %g", \
                 width * larger / 10, height * larger / 10, 0.75 * larger, larger, 0.5 * larger)
}
if (format eq 'svg') {
    eval sprintf("set terminal svg noenhanced size %g,%g font 'Sans,%g' linewidth %g dashlength 0.6 background '#ffffff'", \
                 width * larger / 25.4 * 96, height * larger / 25.4 * 96, points * 96 / 72, 0.6 * larger)
}
set output name.'.'.format

set datafile separator ','
set datafile columnheaders
set datafile missing NaN                       # lines go on over rows of other series
set encoding utf8

# Okabe and Ito's palette: told apart by every kind of colour vision, and in print. The ninth is for what has no colour.
array colour[9] = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c564b', '#000000', '#7f7f7f']
array full[6]   = [7, 5, 9, 11, 13, 15]        # marks, filled; one less is hollow
hue(i) = colour[(i - 1) % 8 + 1]
star(m) = 3 - int((m - 1) / 8) % 3             # of model m, dense: the ninth has the first one's hue, another star and broken lines
dash(m) = 1 + int((m - 1) / 8) % 3
mark(i) = (i == 0) ? 3 : full[(i - 1) % 6 + 1]   # 0: dense, a star
hollow(i) = (i == 0) ? 3 : mark(i) - 1
grey = '#7f7f7f'

set border 3 linewidth 0.5
set tics nomirror scale 0.5
set grid linewidth 0.3 linecolor rgb '#d0d0d0' linetype 1
set style line 1 linewidth 1
unset key

# Rows of a CSV are chosen by its columns *_id: gnuplot cuts a quoted text at its first comma.

# Panels: `columns` by `rows`, margins and gaps in mm; `eval layout` once these are set, `eval place` for each `panel`,
# counted in reading order from 1.
left_mm = 13.5; right_mm = 4.0; top_mm = 5.0; bottom_mm = 9.0 + legend; across_mm = 4.0; down_mm = 10.0
layout = "panel_w = (width - left_mm - right_mm - (columns - 1) * across_mm) / columns; panel_h = (height - top_mm - bottom_mm - (rows - 1) * down_mm) / rows"
col(i) = (i - 1) % columns
row(i) = int((i - 1) / columns)
lm(i) = (left_mm + col(i) * (panel_w + across_mm)) / width
rm(i) = lm(i) + panel_w / width
tm(i) = 1 - (top_mm + row(i) * (panel_h + down_mm)) / height
bm(i) = tm(i) - panel_h / height
place = "set lmargin at screen lm(panel); set rmargin at screen rm(panel); set tmargin at screen tm(panel); set bmargin at screen bm(panel)"
# A name that is too long loses its middle: what tells names apart is at either end.
cut(s, letters) = strlen(s) > letters ? s[1:letters - 1 - letters / 3].'…'.s[strlen(s) - letters / 3 + 1:strlen(s)] : s
# The heading of a panel, left-aligned over it; a note within it where something is missing.
letter_mm = 1.35
heading = "set label 1 cut(title_of_panel, int((panel_w + right_mm) / letter_mm)) at graph 0, 1 offset 0, 0.7 left"
note = "set label 2 note_of_panel at graph 0.5, 0.5 center textcolor rgb grey"
fit(s) = cut(s, legend_letters)
line_spacing = (format eq 'svg') ? 0.75 : 0.9  # 2.8 mm
# The legend under all panels, drawn by a plot of its own that shows nothing else. What stands in it or not is a text in that plot, never an
# iteration over nothing, which takes an entry's place.
legend_frame = "unset label; unset object; unset arrow; unset title; unset xlabel; unset ylabel; unset tics; unset border; unset grid; unset logscale; set lmargin at screen 0; set rmargin at screen 1; set bmargin at screen 0; set tmargin at screen 1; set xrange [0:1]; set yrange [0:1]; set key at screen 0.5, screen 0.6 / height center bottom vertical reverse Left maxrows legend_rows samplen 1.2 spacing line_spacing width legend_width"
