/* Text that may be any bytes, as paths are, for answers in JSON, which is UTF-8.
 *
 * Source: RFC 8259, 8.1. */
#ifndef USHER_DAEMON_UTF8_H
#define USHER_DAEMON_UTF8_H

#include <jansson.h>

/* Unless text is UTF-8, each byte of it that is not ASCII becomes a question mark. */
void utf8_mend(char *text);

/* The string of a copy that is mended so. NULL: out of memory. */
json_t *utf8_json(const char *text);

#endif
