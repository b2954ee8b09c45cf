/* Turns bytes that come in pieces into text that comes in pieces, all of it UTF-8.
 *
 * A character or group that a piece cuts is held back until its rest comes, so the text is the
 * same however the bytes were cut, and each piece of it is valid by itself. Nothing is refused:
 * UTF-8 with faults gets U+FFFD for each maximal subpart, UTF-16 for each lone surrogate; ASCII
 * loses the eighth bit; a byte order mark stays. iconv(3) would need a descriptor of some KiB for
 * each socket, and stops at faults instead of replacing them.
 *
 * Owns:   nothing; a decoder is a few bytes in place, and its text goes to the caller's memory.
 * Errors: none.
 * Source: Node.js's string_decoder; the WHATWG Encoding Standard for U+FFFD; RFC 4648. */
#ifndef USHER_COMMON_NET_DECODER_H
#define USHER_COMMON_NET_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "common/net/net.h"

/* Room for the text of size bytes and what was held back before them. */
#define DECODER_TEXT_SIZE(size) (3 * (size) + 4)

/* The fields are the module's own. */
struct decoder {
	uint8_t encoding; /* enum net_encoding */
	uint8_t held_size;
	uint8_t held[4];
};

/* With NET_ENCODING_NONE bytes pass as they are. */
void decoder_init(struct decoder *decoder, enum net_encoding encoding);

/* Writes the text of size more bytes to text, which has DECODER_TEXT_SIZE(size) bytes and is
 * memory of its own. Returns the length of the text, which may be 0; no NUL follows it. */
size_t decoder_write(struct decoder *decoder, const void *data, size_t size, char *text);

/* Writes what is still held back, as a fault if need be, to text of DECODER_TEXT_SIZE(0) bytes.
 * Half a UTF-16 unit is dropped. The decoder is as new after that. */
size_t decoder_end(struct decoder *decoder, char *text);

#endif
