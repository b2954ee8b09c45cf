/* Error numbers and their texts.
 *
 * Errors: none of these functions fails.
 * Source: errno(3); accept(2), "Error handling". */
#ifndef USHER_COMMON_NET_ERROR_H
#define USHER_COMMON_NET_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/net/addr.h"
#include "common/net/net.h"

/* Longer than any text that error_fill() makes of bounded parts; a host name is cut to fit. */
#define ERROR_TEXT_SIZE 512

/* What an error is made of; all but code may be NULL. */
struct error_source {
	int code;
	const char *syscall;
	const struct addr *addr;
	const char *host;         /* what was looked up; stands in for addr */
	const struct addr *local; /* shown as "- Local (...)" */
};

/* Fills *ret; its text is "SYSCALL CODE[: message] WHERE", or the bare message where no call was
 * involved, is kept in text, and must live as long as *ret. */
void error_fill(const struct error_source *source, char text[ERROR_TEXT_SIZE],
		struct net_error *ret);

/* Whether an errno of accept4(2) is about one connection, so that the next may be tried at once. */
bool error_is_of_one_connection(int error);

#endif
