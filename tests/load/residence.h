/* All pages of the program and of its libraries, there from the start: what a process touches of
 * them only later would lower the PSS of whoever shares them in the middle of a measurement.
 *
 * Errors: none; the pages are in files that are mapped already.
 * Source: dl_iterate_phdr(3), proc(5) for what PSS is. */
#ifndef USHER_TESTS_LOAD_RESIDENCE_H
#define USHER_TESTS_LOAD_RESIDENCE_H

/* For this process alone: one that is forked later has to take them itself. */
void residence_take(void);

#endif
