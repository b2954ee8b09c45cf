#include "common/net/ip.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/net/net.h"

#define MAPPED_PREFIX_SIZE 12

/* One part of a dotted quad and what must follow it. Returns what is after that, or NULL. */
static const char *parse_part(const char *text, char follows, uint8_t *ret)
{
	unsigned value = 0;
	int digits = 0;

	for (; *text >= '0' && *text <= '9'; text++) {
		value = value * 10 + (unsigned)(*text - '0');
		if ((++digits == 2 && value < 10) || value > 255)
			return NULL;
	}
	if (digits == 0 || *text != follows)
		return NULL;
	*ret = (uint8_t)value;
	return text + 1;
}

static bool parse_quad(const char *text, uint8_t bytes[4])
{
	for (int i = 0; text && i < 4; i++)
		text = parse_part(text, i < 3 ? '.' : '\0', &bytes[i]);
	return text;
}

static bool is_zone(const char *text)
{
	size_t length = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ-.:");

	return length > 0 && text[length] == '\0';
}

/* The library reads the groups; the dotted quad at the end is held to our own rules first. */
static bool parse_groups(const char *text, uint8_t bytes[16])
{
	const char *quad = strrchr(text, ':');
	uint8_t tail[4];

	if (quad && strchr(quad, '.') && !parse_quad(quad + 1, tail))
		return false;
	return inet_pton(AF_INET6, text, bytes) == 1;
}

static bool parse_v6(const char *text, uint8_t bytes[16])
{
	size_t length = strcspn(text, "%");
	char address[INET6_ADDRSTRLEN];

	if (length >= sizeof(address))
		return false;
	if (text[length] == '%' && !is_zone(text + length + 1))
		return false;

	memcpy(address, text, length);
	address[length] = '\0';
	return parse_groups(address, bytes);
}

int ip_parse(const char *text, struct ip *ret)
{
	struct ip ip = {.bytes = {[10] = 0xff, [11] = 0xff}};
	int family;

	if (!text)
		return 0;
	if (parse_quad(text, ip.bytes + MAPPED_PREFIX_SIZE))
		family = 4;
	else if (parse_v6(text, ip.bytes))
		family = 6;
	else
		return 0;

	if (ret)
		*ret = ip;
	return family;
}

int net_is_ip(const char *text)
{
	return ip_parse(text, NULL);
}

bool net_is_ipv4(const char *text)
{
	return ip_parse(text, NULL) == 4;
}

bool net_is_ipv6(const char *text)
{
	return ip_parse(text, NULL) == 6;
}
