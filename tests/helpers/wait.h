/* Waiting in tests: always for something, never longer than a deadline.
 *
 * Errors: functions that wait return false when the deadline has passed. */
#ifndef USHER_TESTS_HELPERS_WAIT_H
#define USHER_TESTS_HELPERS_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/* Long enough for a loaded machine and a sanitizer; a wait ends as soon as its event is there. */
#define WAIT_MS 20000

int64_t now_ms(void);

/* What is left until a moment of now_ms(), at least 0: the timeout for poll(2). */
int left_ms(int64_t deadline);

bool wait_readable(int fd, int timeout_ms);

/* For a state that no event tells of (a count elsewhere, a line in a log): looks again every few
 * milliseconds until it is there. */
bool poll_until(bool (*is_there)(void *ctx), void *ctx, int timeout_ms);

/* Keeps the processor for so long, in which no loop can run: what was due becomes late. */
void stay_busy(int ms);

/* Ends the test program with a message if it still runs after so many seconds. */
void watchdog(unsigned int seconds);

#endif
