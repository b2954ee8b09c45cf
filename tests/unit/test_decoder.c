#include "common/net/decoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"

#define BYTES_MAX 8
#define TEXT_MAX  64

struct decoder_case {
	enum net_encoding encoding;
	const char *bytes; /* in hex */
	const char *text;  /* in hex */
};

static const struct decoder_case node_cases[] = {
#include "tests/unit/decoder_cases.inc"
};

static size_t from_hex(const char *hex, uint8_t *bytes)
{
	size_t size = strlen(hex) / 2;

	assert_true(size <= BYTES_MAX);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &bytes[i]), 1);
	return size;
}

static void to_hex(const char *text, size_t length, char *hex)
{
	for (size_t i = 0; i < length; i++)
		sprintf(hex + 2 * i, "%02x", (unsigned char)text[i]);
	hex[2 * length] = '\0';
}

/* Text is written to memory of exactly the promised size, so that a checker sees one byte more. */
static size_t write_exactly(struct decoder *decoder, const uint8_t *data, size_t size, char *text)
{
	char *room = malloc(DECODER_TEXT_SIZE(size));
	size_t length = decoder_write(decoder, data, size, room);

	assert_true(length <= DECODER_TEXT_SIZE(size));
	memcpy(text, room, length);
	free(room);
	return length;
}

static size_t end_exactly(struct decoder *decoder, char *text)
{
	char *room = malloc(DECODER_TEXT_SIZE(0));
	size_t length = decoder_end(decoder, room);

	memcpy(text, room, length);
	free(room);
	return length;
}

/* Bit i of cuts: a piece ends after byte i. */
static void decode(enum net_encoding encoding, const uint8_t *bytes, size_t size, unsigned cuts,
		   char *hex)
{
	struct decoder decoder;
	char text[TEXT_MAX];
	size_t length = 0, begin = 0;

	decoder_init(&decoder, encoding);
	for (size_t i = 0; i < size; i++) {
		if (i + 1 < size && !(cuts & 1u << i))
			continue;
		length += write_exactly(&decoder, bytes + begin, i + 1 - begin, text + length);
		begin = i + 1;
	}
	length += end_exactly(&decoder, text + length);
	to_hex(text, length, hex);
}

static void check_all_cuts(const struct decoder_case *c)
{
	uint8_t bytes[BYTES_MAX];
	size_t size = from_hex(c->bytes, bytes);
	char hex[2 * TEXT_MAX + 1];

	for (unsigned cuts = 0; cuts < 1u << (size > 0 ? size - 1 : 0); cuts++) {
		decode(c->encoding, bytes, size, cuts, hex);
		if (strcmp(hex, c->text) != 0)
			fail_msg("encoding %d, bytes %s, cuts %x: %s instead of %s", c->encoding,
				 c->bytes, cuts, hex, c->text);
	}
}

/* RD-8 */
static void text_is_that_of_node_however_the_bytes_are_cut(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(node_cases); i++)
		check_all_cuts(&node_cases[i]);
}

/* RD-8 */
static void faults_become_one_replacement_for_each_maximal_subpart(void **state)
{
	static const struct decoder_case cases[] = {
		{NET_ENCODING_UTF8, "", ""},
		{NET_ENCODING_UTF8, "f09f98", "efbfbd"},
		{NET_ENCODING_UTF8, "f09f9841", "efbfbd41"},
		{NET_ENCODING_UTF8, "c080", "efbfbdefbfbd"},
		{NET_ENCODING_UTF8, "eda080", "efbfbdefbfbdefbfbd"},
		{NET_ENCODING_UTF8, "f4908080", "efbfbdefbfbdefbfbdefbfbd"},
		{NET_ENCODING_UTF8, "e282e282ac", "efbfbde282ac"},
		{NET_ENCODING_UTF8, "efbbbf41", "efbbbf41"},
		{NET_ENCODING_UTF16LE, "3dd800de", "f09f9880"},
		{NET_ENCODING_UTF16LE, "3dd83dd800de", "efbfbdf09f9880"},
		{NET_ENCODING_UTF16LE, "00dc", "efbfbd"},
		{NET_ENCODING_UTF16LE, "00d800dc", "f0908080"},
		{NET_ENCODING_UTF16LE, "ffdbffdf", "f48fbfbf"},
		{NET_ENCODING_UTF16LE, "00d800e0", "efbfbdee8080"},
		{NET_ENCODING_UTF16LE, "ffd700dc", "ed9fbfefbfbd"},
		{NET_ENCODING_UTF16LE, "3dd8", "efbfbd"},
		{NET_ENCODING_UTF16LE, "410042", "41"},
		{NET_ENCODING_UTF16LE, "3dd841", "efbfbd"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_all_cuts(&cases[i]);
}

static void assert_writes(struct decoder *decoder, const char *data, size_t size,
			  const char *expected)
{
	char text[TEXT_MAX] = "";
	size_t length = decoder_write(decoder, data, size, text);

	assert_int_equal(length, strlen(expected));
	assert_memory_equal(text, expected, length);
}

/* RD-8 */
static void cut_character_is_held_back_and_no_more(void **state)
{
	struct decoder decoder;

	decoder_init(&decoder, NET_ENCODING_UTF8);
	assert_writes(&decoder, "a\xe2\x82", 3, "a");
	assert_writes(&decoder, "\xac\xf0", 2, "\xe2\x82\xac");
	assert_writes(&decoder, "\x9f\x98", 2, "");
	assert_writes(&decoder, "\x80z", 2, "\xf0\x9f\x98\x80z");

	decoder_init(&decoder, NET_ENCODING_UTF16LE);
	assert_writes(&decoder, "a\0\x3d", 3, "a");
	assert_writes(&decoder, "\xd8\x00", 2, "");
	assert_writes(&decoder, "\xde", 1, "\xf0\x9f\x98\x80");

	decoder_init(&decoder, NET_ENCODING_BASE64);
	assert_writes(&decoder, "\x01\x02\x03\x04", 4, "AQID");
	assert_writes(&decoder, "\x05", 1, "");
	assert_writes(&decoder, "\x06", 1, "BAUG");
}

/* A byte that cannot belong to what is held ends the wait at once. */
static void fault_is_not_held_back(void **state)
{
	struct decoder decoder;

	decoder_init(&decoder, NET_ENCODING_UTF8);
	assert_writes(&decoder, "\xe0", 1, "");
	assert_writes(&decoder, "\x80", 1, "\xef\xbf\xbd\xef\xbf\xbd");
	assert_writes(&decoder, "\xff", 1, "\xef\xbf\xbd");
}

static void decoder_is_as_new_after_end(void **state)
{
	struct decoder decoder;
	char text[DECODER_TEXT_SIZE(0)];

	decoder_init(&decoder, NET_ENCODING_UTF8);
	assert_writes(&decoder, "\xe2\x82", 2, "");
	assert_int_equal(decoder_end(&decoder, text), 3);
	assert_int_equal(decoder_end(&decoder, text), 0);
	assert_writes(&decoder, "\xac", 1, "\xef\xbf\xbd");
}

static void without_encoding_bytes_pass(void **state)
{
	struct decoder decoder;
	char text[DECODER_TEXT_SIZE(3)];

	decoder_init(&decoder, NET_ENCODING_NONE);
	assert_int_equal(decoder_write(&decoder, "\xff\0\xe2", 3, text), 3);
	assert_memory_equal(text, "\xff\0\xe2", 3);
	assert_int_equal(decoder_end(&decoder, text), 0);
}

/* Long enough for the steps of eight bytes, with a fault at every place. */
static void fault_is_found_at_every_place_of_a_long_text(void **state)
{
	char data[40], text[DECODER_TEXT_SIZE(40)], expected[42];
	struct decoder decoder;

	for (size_t at = 0; at < sizeof(data); at++) {
		memset(data, 'a', sizeof(data));
		data[at] = (char)0xff;
		memset(expected, 'a', sizeof(expected));
		memcpy(expected + at, "\xef\xbf\xbd", 3);

		decoder_init(&decoder, NET_ENCODING_UTF8);
		assert_int_equal(decoder_write(&decoder, data, sizeof(data), text),
				 sizeof(expected));
		assert_memory_equal(text, expected, sizeof(expected));
	}
}

static void names_are_those_of_the_documents_in_any_case(void **state)
{
	static const struct {
		const char *name;
		int encoding;
	} cases[] = {
		{"utf8", NET_ENCODING_UTF8},
		{"UTF-8", NET_ENCODING_UTF8},
		{"utf16le", NET_ENCODING_UTF16LE},
		{"UTF-16LE", NET_ENCODING_UTF16LE},
		{"ucs2", NET_ENCODING_UTF16LE},
		{"Ucs-2", NET_ENCODING_UTF16LE},
		{"latin1", NET_ENCODING_LATIN1},
		{"binary", NET_ENCODING_LATIN1},
		{"ASCII", NET_ENCODING_ASCII},
		{"base64", NET_ENCODING_BASE64},
		{"Base64URL", NET_ENCODING_BASE64URL},
		{"hex", NET_ENCODING_HEX},
		{"", -EINVAL},
		{"utf", -EINVAL},
		{"utf-8 ", -EINVAL},
		{"utf_8", -EINVAL},
		{"utf16", -EINVAL},
		{"us-ascii", -EINVAL},
		{NULL, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(net_encoding_by_name(cases[i].name), cases[i].encoding);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_that_of_node_however_the_bytes_are_cut),
		cmocka_unit_test(faults_become_one_replacement_for_each_maximal_subpart),
		cmocka_unit_test(cut_character_is_held_back_and_no_more),
		cmocka_unit_test(fault_is_not_held_back),
		cmocka_unit_test(fault_is_found_at_every_place_of_a_long_text),
		cmocka_unit_test(decoder_is_as_new_after_end),
		cmocka_unit_test(without_encoding_bytes_pass),
		cmocka_unit_test(names_are_those_of_the_documents_in_any_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
