# Draws folder/plot-PANEL.dat (of plot.jq) into folder/results.svg: rates as parts of the limit's.
set terminal svg size 1100, 1000 noenhanced font "sans,11" background "white"
set output folder."/results.svg"

# A server has its colour in every panel: limits grey, usher blue, the others warm or green.
colour(name) = name eq "limit-shared" ? 0x555555 : name eq "limit-reuse-port" ? 0x808080 : \
	name eq "limit-pass" ? 0xaaaaaa : name eq "limit-copy" ? 0x666666 : \
	name eq "limit-splice" ? 0x999999 : name eq "usher-shared" ? 0x0055bb : \
	name eq "usher-reuse-port" ? 0x2277dd : name eq "usher-round-robin" ? 0x5599ee : \
	name eq "usher-least-connections" ? 0x88bbff : name eq "usher-source-hash" ? 0xbbddff : \
	name eq "usher-proxy" ? 0x0055bb : name eq "node-none" ? 0x339933 : \
	name eq "node-rr" ? 0x77bb55 : name eq "node-pipe" ? 0x339933 : \
	name eq "nginx" ? 0xdd7722 : 0xcc3333

set style data histogram
set style histogram clustered gap 1
set style fill solid noborder
set ylabel "part of the best limit's rate"
set yrange [0:*]
set grid ytics
set xtics rotate by -20
set key outside right top

set multiplot layout 3, 1
do for [panel in "one two proxy"] {
	file = folder."/plot-".panel.".dat"
	names = system("head -n 1 ".file)
	if (int(system("wc -l <".file)) > 1) {
		set title panel eq "one" ? "echo servers, one CPU for load and servers" : \
			panel eq "two" ? "echo servers, two CPUs" : "proxies"
		plot for [i = 2:words(names)] file using i:xtic(1) skip 1 \
			title word(names, i) linecolor rgb colour(word(names, i))
	}
}
unset multiplot
