/* One line on a terminal that says how the run is going: the rate of the last quarter of a second
 * and the failures so far. Nothing is written anywhere but to a terminal. */
#ifndef USHER_TESTS_LOAD_PROGRESS_H
#define USHER_TESTS_LOAD_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include "tests/load/options.h"
#include "tests/load/tally.h"

void progress_begin(const struct load_options *options);
/* When to show it next, but not after until_ns. */
uint64_t progress_next_ns(uint64_t until_ns);
void progress_show(const struct tally *tallies, size_t count);
/* Takes the line back. */
void progress_end(void);

#endif
