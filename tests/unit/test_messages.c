/* The table of messages: every one of them makes its round trip, everything else is refused. */
#include "common/ipc/messages.h"

#include <errno.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "tests/helpers/ipc_rows.h"

#define HEADER_SIZE sizeof(uint32_t)

/* One byte more than a packet has, for those that are too long. */
static alignas(uint32_t) unsigned char packet[IPC_PACKET_MAX + 16];
static unsigned char body[IPC_PACKET_MAX];
static unsigned char tail[IPC_PACKET_MAX];

static int setup(void **state)
{
	for (size_t i = 0; i < IPC_PACKET_MAX; i++) {
		body[i] = (unsigned char)(i * 7 + 1);
		tail[i] = (unsigned char)(i * 13 + 5);
	}
	memset(packet, 0xa5, sizeof(packet));
	return 0;
}

static size_t encode(const struct ipc_row *row, size_t tail_count)
{
	int size = ipc_encode(row->type, body, tail, tail_count, packet);

	assert_int_equal(size, HEADER_SIZE + row->body + tail_count * row->tail);
	return (size_t)size;
}

static enum ipc_side other(enum ipc_side side)
{
	return side == IPC_WORKER ? IPC_SUPERVISOR : IPC_WORKER;
}

static void assert_accepted(const struct ipc_row *row, size_t size, size_t tail_count)
{
	struct ipc_message m;
	const char *why;

	size_t n_fds = ipc_row_fds(row, tail_count);

	assert_int_equal(ipc_decode(row->side, packet, size, n_fds, &m, &why), 0);
	assert_false(m.lost);
	assert_int_equal(m.type, row->type);
	assert_int_equal(m.tail_count, tail_count);
	assert_int_equal(m.n_fds, n_fds);
	assert_ptr_equal(m.body, packet + HEADER_SIZE);
	assert_ptr_equal(m.tail, packet + HEADER_SIZE + row->body);
	assert_memory_equal(m.body, body, row->body);
	assert_memory_equal(m.tail, tail, tail_count * row->tail);
}

/* Refused with a reason, and the result left alone. */
static void assert_refused(enum ipc_side sender, size_t size, size_t n_fds)
{
	struct ipc_message m = {.tail_count = 4711};
	const char *why = NULL;

	assert_int_equal(ipc_decode(sender, packet, size, n_fds, &m, &why), -EPROTO);
	assert_non_null(why);
	assert_true(strlen(why) > 10);
	assert_int_equal(m.tail_count, 4711);
}

static void every_message_makes_its_round_trip(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++) {
		const size_t counts[] = {0, 1, 2, 100, ipc_row_tail_max(row)};

		for (size_t i = 0; i < (row->tail ? ARRAY_LEN(counts) : 1); i++)
			assert_accepted(row, encode(row, counts[i]), counts[i]);
	}
}

static void every_truncation_is_refused(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++)
		for (size_t size = 0, whole = encode(row, 0); size < whole; size++)
			assert_refused(row->side, size, ipc_row_fds(row, 0));
}

static void every_extension_of_a_message_without_tail_is_refused(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++) {
		size_t whole = encode(row, 0);

		for (size_t size = whole + 1; row->tail == 0 && size <= IPC_PACKET_MAX; size++)
			assert_refused(row->side, size, ipc_row_fds(row, 0));
	}
}

static void tail_of_broken_elements_is_refused(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++) {
		if (row->tail == 0)
			continue;
		for (size_t rest = 0, fixed = encode(row, 3) - 3 * row->tail; rest < 100; rest++)
			if (rest % row->tail != 0)
				assert_refused(row->side, fixed + rest,
					       ipc_row_fds(row, rest / row->tail));
			else if (rest <= 3 * row->tail)
				assert_accepted(row, fixed + rest, rest / row->tail);
	}
}

static void message_of_the_other_side_is_refused(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++)
		if (row->side != IPC_EITHER)
			assert_refused(other(row->side), encode(row, 0), ipc_row_fds(row, 0));
}

static void message_that_either_side_sends_is_accepted_from_both(void **state)
{
	struct ipc_message m;
	const char *why;
	int count = 0;

	for (const struct ipc_row *row = ipc_rows; row->name; row++) {
		if (row->side != IPC_EITHER)
			continue;
		size_t size = encode(row, 0), n_fds = ipc_row_fds(row, 0);

		assert_int_equal(ipc_decode(IPC_SUPERVISOR, packet, size, n_fds, &m, &why), 0);
		assert_int_equal(ipc_decode(IPC_WORKER, packet, size, n_fds, &m, &why), 0);
		count++;
	}
	assert_true(count > 0);
}

static void every_wrong_count_of_descriptors_is_refused(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++)
		for (size_t n = 0, size = encode(row, 0); n <= FDPASS_MAX; n++)
			if (n != ipc_row_fds(row, 0))
				assert_refused(row->side, size, n);
}

static void one_descriptor_for_each_element_is_neither_more_nor_fewer(void **state)
{
	const struct ipc_row *row = ipc_row_of(IPC_HANDOFF);
	size_t size = encode(row, 3);

	assert_int_equal(row->descriptors, IPC_FDS_EACH);
	for (size_t n = 0; n <= FDPASS_MAX; n++)
		if (n != 3)
			assert_refused(row->side, size, n);
	assert_int_equal(ipc_encode(row->type, body, tail, FDPASS_MAX + 1, packet), -EMSGSIZE);
}

/* IP-4 */
static void a_message_of_connections_arrives_without_them_and_no_other_does(void **state)
{
	struct ipc_message m;
	const char *why;

	for (const struct ipc_row *row = ipc_rows; row->name; row++) {
		size_t size = encode(row, row->tail ? 2 : 0);
		int r = ipc_decode(row->side, packet, size, IPC_FDS_LOST, &m, &why);

		if (row->descriptors != IPC_FDS_EACH) {
			assert_int_equal(r, -EOVERFLOW);
			continue;
		}
		assert_int_equal(r, 0);
		assert_true(m.lost);
		assert_int_equal(m.n_fds, 0);
		assert_int_equal(m.tail_count, 2);
	}
}

/* More than any packet could have had. */
static void more_elements_than_descriptors_can_be_are_refused(void **state)
{
	const struct ipc_row *row = ipc_row_of(IPC_HANDOFF);
	size_t size = encode(row, 0) + (FDPASS_MAX + 1) * row->tail;

	assert_refused(row->side, size, FDPASS_MAX + 1);
	assert_refused(row->side, size, IPC_FDS_LOST);
}

static void assert_type_is_unknown(uint32_t type)
{
	assert_string_equal(ipc_type_name(type), "?");
	memcpy(packet, &type, sizeof(type));
	for (size_t size = 0; size < 64; size++) {
		assert_refused(IPC_SUPERVISOR, size, 0);
		assert_refused(IPC_WORKER, size, 0);
		assert_refused(IPC_SUPERVISOR, size, 1);
	}
}

static void unknown_types_are_refused(void **state)
{
	for (uint32_t type = 0; type < 1000; type++)
		if (!ipc_row_of(type))
			assert_type_is_unknown(type);
	for (int bit = 10; bit < 32; bit++)
		assert_type_is_unknown(IPC_HELLO | UINT32_C(1) << bit);
	assert_type_is_unknown(UINT32_MAX);
}

static void tail_that_is_too_long_is_not_encoded(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++) {
		size_t max = ipc_row_tail_max(row);

		if (row->tail == 0)
			continue;
		assert_int_equal(ipc_encode(row->type, body, tail, max + 1, packet), -EMSGSIZE);
		assert_int_equal(ipc_encode(row->type, body, tail, SIZE_MAX, packet), -EMSGSIZE);
		/* The product of count and size wraps around to 0. */
		if (row->tail > 1)
			assert_int_equal(
				ipc_encode(row->type, body, tail, SIZE_MAX / row->tail + 1, packet),
				-EMSGSIZE);
	}
}

static void every_type_has_its_own_number_and_name(void **state)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++) {
		assert_ptr_equal(ipc_row_of(row->type), row);
		assert_string_equal(ipc_type_name(row->type), row->name);
		assert_int_equal(ipc_fd_count(row->type, 7), ipc_row_fds(row, 7));
	}
}

/* Whatever else changes, two programs of different versions must be able to tell so. */
static void hello_keeps_its_place_on_the_wire_for_all_versions(void **state)
{
	const struct ipc_hello hello = {.version = 0x01020304};
	uint32_t words[2];

	assert_int_equal(ipc_encode(IPC_HELLO, &hello, NULL, 0, packet), sizeof(words));
	memcpy(words, packet, sizeof(words));
	assert_int_equal(words[0], 1);
	assert_int_equal(words[1], 0x01020304);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup(function, setup)
		TEST(every_message_makes_its_round_trip),
		TEST(every_truncation_is_refused),
		TEST(every_extension_of_a_message_without_tail_is_refused),
		TEST(tail_of_broken_elements_is_refused),
		TEST(message_of_the_other_side_is_refused),
		TEST(message_that_either_side_sends_is_accepted_from_both),
		TEST(every_wrong_count_of_descriptors_is_refused),
		TEST(one_descriptor_for_each_element_is_neither_more_nor_fewer),
		TEST(a_message_of_connections_arrives_without_them_and_no_other_does),
		TEST(more_elements_than_descriptors_can_be_are_refused),
		TEST(unknown_types_are_refused),
		TEST(tail_that_is_too_long_is_not_encoded),
		TEST(every_type_has_its_own_number_and_name),
		TEST(hello_keeps_its_place_on_the_wire_for_all_versions),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("messages", tests, NULL, NULL);
}
