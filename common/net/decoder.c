#include "common/net/decoder.h"

#include <string.h>
#include <strings.h>

#include "common/macros.h"

/* Writes the text of as many of the size bytes as make whole characters or groups, and says in
 * ret_used how many these were; at most three are left. Returns the length of the text. */
typedef size_t convert_fn(const uint8_t *data, size_t size, char *text, size_t *ret_used);

/* Writes the text of the one to three bytes that convert left and nothing will follow. */
typedef size_t finish_fn(const uint8_t *held, size_t size, char *text);

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
#define REPLACEMENT_SIZE 3

static size_t put_replacement(char *text)
{
	memcpy(text, replacement, REPLACEMENT_SIZE);
	return REPLACEMENT_SIZE;
}

static size_t put_character(char *text, uint32_t c)
{
	if (c < 0x80) {
		text[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		text[0] = (char)(0xc0 | c >> 6);
		text[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		text[0] = (char)(0xe0 | c >> 12);
		text[1] = (char)(0x80 | (c >> 6 & 0x3f));
		text[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	text[0] = (char)(0xf0 | c >> 18);
	text[1] = (char)(0x80 | (c >> 12 & 0x3f));
	text[2] = (char)(0x80 | (c >> 6 & 0x3f));
	text[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static size_t convert_none(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	memcpy(text, data, size);
	*ret_used = size;
	return size;
}

static int utf8_length(uint8_t lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 4;
	return 0;
}

/* Some leads narrow the second byte: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool utf8_may_follow(uint8_t lead, int index, uint8_t byte)
{
	uint8_t low = 0x80, high = 0xbf;

	if (index == 1) {
		low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : low;
		high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : high;
	}
	return byte >= low && byte <= high;
}

/* The size of the sequence that data starts with; that of a faulty one, negative, up to the byte
 * that cannot belong to it; 0 if it is good as far as it goes but not whole. */
static int utf8_sequence(const uint8_t *data, size_t size)
{
	int length = utf8_length(data[0]);

	if (length == 0)
		return -1;
	for (int i = 1; i < length; i++) {
		if ((size_t)i == size)
			return 0;
		if (!utf8_may_follow(data[0], i, data[i]))
			return -i;
	}
	return length;
}

static size_t ascii_run(const uint8_t *data, size_t size)
{
	uint64_t eight;
	size_t run = 0;

	for (; size - run >= sizeof(eight); run += sizeof(eight)) {
		memcpy(&eight, data + run, sizeof(eight));
		if (eight & 0x8080808080808080u)
			break;
	}
	while (run < size && data[run] < 0x80)
		run++;
	return run;
}

/* What is good is copied in runs from one fault to the next. */
static size_t convert_utf8(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	size_t used = 0, copied = 0, length = 0;
	int sequence = 1;

	while ((used += ascii_run(data + used, size - used)) < size) {
		sequence = utf8_sequence(data + used, size - used);
		if (sequence == 0)
			break;
		if (sequence > 0) {
			used += (size_t)sequence;
			continue;
		}
		memcpy(text + length, data + copied, used - copied);
		length += used - copied;
		length += put_replacement(text + length);
		used += (size_t)-sequence;
		copied = used;
	}
	memcpy(text + length, data + copied, used - copied);
	*ret_used = used;
	return length + used - copied;
}

static size_t finish_utf8(const uint8_t *held, size_t size, char *text)
{
	return put_replacement(text);
}

static uint32_t utf16_unit(const uint8_t *data)
{
	return data[0] | (uint32_t)data[1] << 8;
}

static size_t convert_utf16le(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	size_t used = 0, length = 0;

	for (; size - used >= 2; used += 2) {
		uint32_t unit = utf16_unit(data + used);

		if (unit >= 0xd800 && unit <= 0xdbff) {
			if (size - used < 4)
				break;
			uint32_t next = utf16_unit(data + used + 2);
			if (next >= 0xdc00 && next <= 0xdfff) {
				unit = 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00);
				used += 2;
			}
		}
		if (unit >= 0xd800 && unit <= 0xdfff)
			length += put_replacement(text + length);
		else
			length += put_character(text + length, unit);
	}
	*ret_used = used;
	return length;
}

static size_t finish_utf16le(const uint8_t *held, size_t size, char *text)
{
	return size >= 2 ? put_replacement(text) : 0;
}

static size_t convert_latin1(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	size_t length = 0;

	for (size_t i = 0; i < size; i++)
		length += put_character(text + length, data[i]);
	*ret_used = size;
	return length;
}

static size_t convert_ascii(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	for (size_t i = 0; i < size; i++)
		text[i] = (char)(data[i] & 0x7f);
	*ret_used = size;
	return size;
}

static size_t convert_hex(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[data[i] >> 4];
		text[2 * i + 1] = digits[data[i] & 0xf];
	}
	*ret_used = size;
	return 2 * size;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_group(const uint8_t *data, const char *digits, char *text)
{
	text[0] = digits[data[0] >> 2];
	text[1] = digits[(data[0] & 0x3) << 4 | data[1] >> 4];
	text[2] = digits[(data[1] & 0xf) << 2 | data[2] >> 6];
	text[3] = digits[data[2] & 0x3f];
}

static size_t put_groups(const uint8_t *data, size_t size, const char *digits, char *text,
			 size_t *ret_used)
{
	size_t groups = size / 3;

	for (size_t i = 0; i < groups; i++)
		put_group(data + 3 * i, digits, text + 4 * i);
	*ret_used = 3 * groups;
	return 4 * groups;
}

static size_t convert_base64(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	return put_groups(data, size, base64_digits, text, ret_used);
}

static size_t convert_base64url(const uint8_t *data, size_t size, char *text, size_t *ret_used)
{
	return put_groups(data, size, base64url_digits, text, ret_used);
}

/* One or two bytes give two or three digits. */
static size_t put_last_group(const uint8_t *held, size_t size, const char *digits, char *text)
{
	uint8_t group[3] = {held[0], size > 1 ? held[1] : 0, 0};

	put_group(group, digits, text);
	return size + 1;
}

static size_t finish_base64(const uint8_t *held, size_t size, char *text)
{
	size_t length = put_last_group(held, size, base64_digits, text);

	memset(text + length, '=', 4 - length);
	return 4;
}

static size_t finish_base64url(const uint8_t *held, size_t size, char *text)
{
	return put_last_group(held, size, base64url_digits, text);
}

static const struct {
	convert_fn *convert;
	finish_fn *finish; /* NULL: convert leaves nothing */
} codecs[] = {
	[NET_ENCODING_NONE] = {convert_none, NULL},
	[NET_ENCODING_UTF8] = {convert_utf8, finish_utf8},
	[NET_ENCODING_UTF16LE] = {convert_utf16le, finish_utf16le},
	[NET_ENCODING_LATIN1] = {convert_latin1, NULL},
	[NET_ENCODING_ASCII] = {convert_ascii, NULL},
	[NET_ENCODING_BASE64] = {convert_base64, finish_base64},
	[NET_ENCODING_BASE64URL] = {convert_base64url, finish_base64url},
	[NET_ENCODING_HEX] = {convert_hex, NULL},
};

static const struct {
	const char *name;
	enum net_encoding encoding;
} names[] = {
	{"utf8", NET_ENCODING_UTF8},           {"utf-8", NET_ENCODING_UTF8},
	{"utf16le", NET_ENCODING_UTF16LE},     {"utf-16le", NET_ENCODING_UTF16LE},
	{"ucs2", NET_ENCODING_UTF16LE},        {"ucs-2", NET_ENCODING_UTF16LE},
	{"latin1", NET_ENCODING_LATIN1},       {"binary", NET_ENCODING_LATIN1},
	{"ascii", NET_ENCODING_ASCII},         {"base64", NET_ENCODING_BASE64},
	{"base64url", NET_ENCODING_BASE64URL}, {"hex", NET_ENCODING_HEX},
};

int net_encoding_by_name(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LEN(names); i++)
		if (strcasecmp(names[i].name, name) == 0)
			return (int)names[i].encoding;
	return -EINVAL;
}

void decoder_init(struct decoder *decoder, enum net_encoding encoding)
{
	*decoder = (struct decoder){.encoding = (uint8_t)encoding};
}

static size_t complete_held(struct decoder *decoder, uint8_t byte, char *text)
{
	size_t used, length;

	decoder->held[decoder->held_size++] = byte;
	length = codecs[decoder->encoding].convert(decoder->held, decoder->held_size, text, &used);
	decoder->held_size -= (uint8_t)used;
	memmove(decoder->held, decoder->held + used, decoder->held_size);
	return length;
}

size_t decoder_write(struct decoder *decoder, const void *data, size_t size, char *text)
{
	const uint8_t *bytes = data;
	size_t taken = 0, length = 0, used;

	while (decoder->held_size > 0 && taken < size)
		length += complete_held(decoder, bytes[taken++], text + length);
	if (taken == size)
		return length;

	length += codecs[decoder->encoding].convert(bytes + taken, size - taken, text + length,
						    &used);
	taken += used;
	decoder->held_size = (uint8_t)(size - taken);
	memcpy(decoder->held, bytes + taken, size - taken);
	return length;
}

size_t decoder_end(struct decoder *decoder, char *text)
{
	size_t length = 0;

	if (decoder->held_size > 0)
		length = codecs[decoder->encoding].finish(decoder->held, decoder->held_size, text);
	decoder->held_size = 0;
	return length;
}
