/* How long to wait before a worker that keeps dying is started again.
 *
 * Source: the usual exponential backoff with jitter, so that workers that died together do not
 * all come back together. */
#ifndef USHER_DAEMON_BACKOFF_H
#define USHER_DAEMON_BACKOFF_H

/* A process that lived shorter than this died quickly. */
#define BACKOFF_QUICK_MS 10000

#define BACKOFF_FIRST_MS 200
#define BACKOFF_LIMIT_MS 30000

/* The delay after so many quick deaths in a row: none up to the first, then doubling from
 * BACKOFF_FIRST_MS to BACKOFF_LIMIT_MS, less up to a half by chance. */
unsigned int backoff_ms(unsigned int quick_deaths);

#endif
