/* The clocks of a usherd, which a test sets: its program is then fake_usherd, which adds to what
 * the kernel says what it finds in a page of memory that both share. Those of everybody else, its
 * workers among them, go on.
 *
 * Use: clocks_open() before usher_start(), clocks_done() at the end of the test. */
#ifndef USHER_TESTS_HELPERS_CLOCKS_H
#define USHER_TESTS_HELPERS_CLOCKS_H

#include <limits.h>
#include <stdint.h>

/* Names the file with the page, in the environment of fake_usherd. */
#define CLOCKS_VARIABLE "FAKE_CLOCKS"

/* In seconds. */
struct clocks_page {
	_Atomic int64_t wall;
	_Atomic int64_t monotonic;
};

struct usher;

struct clocks {
	struct clocks_page *page;
	char variable[128];
	char worker[PATH_MAX];
	const char *env[2];
	const char *args[3];
};

void clocks_open(struct clocks *clocks, struct usher *u);
void clocks_done(struct clocks *clocks);

/* Puts them forward, or back: the monotonic one as if so much time had passed at once. */
void clocks_step(struct clocks *clocks, int64_t wall_s, int64_t monotonic_s);

#endif
