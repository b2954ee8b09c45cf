#include "tests/load/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/load/clock.h"

#define INTERVAL_NS (NS_OF_A_SECOND / 4)

static bool shown;
static const char *mode;
static uint64_t shown_ns, began_ns;
static uint64_t operations;

void progress_begin(const struct load_options *options)
{
	shown = !options->quiet && isatty(STDERR_FILENO);
	mode = load_mode_names[options->mode];
	shown_ns = began_ns = clock_ns();
}

uint64_t progress_next_ns(uint64_t until_ns)
{
	uint64_t next = shown_ns + INTERVAL_NS;

	return shown && next < until_ns ? next : until_ns;
}

/* The other processes write meanwhile: each figure is read once, and may be of another moment. */
static uint64_t now_of(const uint64_t *figure)
{
	return __atomic_load_n(figure, __ATOMIC_RELAXED);
}

void progress_show(const struct tally *tallies, size_t count)
{
	uint64_t now = clock_ns(), connected = 0, sum = 0, failures = 0;

	if (!shown || now - shown_ns < INTERVAL_NS)
		return;
	for (size_t i = 0; i < count; i++) {
		connected += now_of(&tallies[i].connected);
		sum += now_of(&tallies[i].operations);
		for (int k = 0; k < FAILURES; k++)
			failures += now_of(&tallies[i].failures[k]);
	}
	fprintf(stderr, "\r%s %5.1f s  %llu connected  %.0f/s  %llu failed \033[K", mode,
		(double)(now - began_ns) / (double)NS_OF_A_SECOND, (unsigned long long)connected,
		(double)(sum - operations) * (double)NS_OF_A_SECOND / (double)(now - shown_ns),
		(unsigned long long)failures);
	operations = sum;
	shown_ns = now;
}

void progress_end(void)
{
	if (shown)
		fprintf(stderr, "\r\033[K");
	shown = false;
}
