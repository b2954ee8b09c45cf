/* Whether a text is an IP address, as the net module of Node.js sees it. The public functions on
 * it, net_is_ip() and its like, are in net.h.
 *
 * inet_pton(3) alone would not do: it knows no zones, and libraries differ in what they make of
 * leading zeros in dotted quads, which some programs read as octal. RFC 6943, section 3.1.1 tells
 * what comes of it when two programs compare such addresses.
 *
 * Errors: none.
 * Source: RFC 4291, section 2.2; RFC 4007, section 11 for zones. */
#ifndef USHER_COMMON_NET_IP_H
#define USHER_COMMON_NET_IP_H

#include <stdint.h>

/* An address as 16 bytes; an IPv4 address is the IPv4-mapped one, so that the two compare equal. */
struct ip {
	uint8_t bytes[16];
};

/* Returns 4, 6, or 0 for anything else, when *ret is not set. A zone must be of [0-9A-Za-z-.:] and
 * is left out of *ret. ret may be NULL. */
int ip_parse(const char *text, struct ip *ret);

#endif
