/* wrap: reallocarray calloc */
#include "common/net/block_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"

void *__real_reallocarray(void *array, size_t count, size_t size);
void *__wrap_reallocarray(void *array, size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static int memory_budget = -1; /* allocations that succeed; -1: all */

static bool take_memory(void)
{
	if (memory_budget == 0)
		return false;
	memory_budget -= memory_budget > 0;
	return true;
}

void *__wrap_reallocarray(void *array, size_t count, size_t size)
{
	return take_memory() ? __real_reallocarray(array, count, size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
	return take_memory() ? __real_calloc(count, size) : NULL;
}

static int set_up(void **state)
{
	struct net_block_list *list;

	if (net_block_list_new(&list) < 0)
		return -1;
	*state = list;
	return 0;
}

static int tear_down(void **state)
{
	net_block_list_free(*state);
	return 0;
}

/* The same answer for the text and for the socket address. */
static void assert_check(const struct net_block_list *list, const char *address, bool expected)
{
	struct addr addr;

	if (net_block_list_check(list, address) != expected)
		fail_msg("%s is%s in the list", address, expected ? " not" : "");
	assert_int_equal(addr_parse(address, 80, &addr), 0);
	assert_int_equal(block_list_check_addr(list, &addr), expected);
}

static void address_is_in_and_its_neighbours_are_not(void **state)
{
	assert_int_equal(net_block_list_add_address(*state, "192.0.2.7"), 0);
	assert_int_equal(net_block_list_add_address(*state, "2001:db8::7"), 0);
	assert_check(*state, "192.0.2.7", true);
	assert_check(*state, "192.0.2.6", false);
	assert_check(*state, "192.0.2.8", false);
	assert_check(*state, "2001:db8::7", true);
	assert_check(*state, "2001:db8::6", false);
	assert_check(*state, "2001:db8::8", false);
}

static void range_holds_both_its_ends(void **state)
{
	assert_int_equal(net_block_list_add_range(*state, "10.0.0.250", "10.0.1.5"), 0);
	assert_int_equal(net_block_list_add_range(*state, "2001:db8::fffe", "2001:db8::1:1"), 0);
	assert_check(*state, "10.0.0.249", false);
	assert_check(*state, "10.0.0.250", true);
	assert_check(*state, "10.0.1.0", true);
	assert_check(*state, "10.0.1.5", true);
	assert_check(*state, "10.0.1.6", false);
	assert_check(*state, "2001:db8::fffd", false);
	assert_check(*state, "2001:db8::1:0", true);
	assert_check(*state, "2001:db8::1:2", false);
}

static void subnet_holds_what_shares_its_prefix(void **state)
{
	static const struct {
		const char *network;
		unsigned prefix;
		const char *in[2], *out[2];
	} cases[] = {
		{"10.1.2.3", 8, {"10.0.0.0", "10.255.255.255"}, {"9.255.255.255", "11.0.0.0"}},
		{"192.0.2.130", 25, {"192.0.2.128", "192.0.2.255"}, {"192.0.2.127", "192.0.3.0"}},
		{"192.0.2.4", 31, {"192.0.2.4", "192.0.2.5"}, {"192.0.2.3", "192.0.2.6"}},
		{"192.0.2.4", 32, {"192.0.2.4", "192.0.2.4"}, {"192.0.2.3", "192.0.2.5"}},
		{"0.0.0.0", 0, {"0.0.0.0", "255.255.255.255"}, {"::1", "2001:db8::"}},
		{"2001:db8::", 32, {"2001:db8::", "2001:db8:ffff::1"}, {"2001:db7:ffff::", "::"}},
		{"2001:db8::", 33, {"2001:db8::", "2001:db8:7fff::1"}, {"2001:db8:8000::", "::"}},
		{"::1", 128, {"::1", "::1"}, {"::", "::2"}},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct net_block_list *list;

		assert_int_equal(net_block_list_new(&list), 0);
		assert_int_equal(net_block_list_add_subnet(list, cases[i].network, cases[i].prefix),
				 0);
		for (int k = 0; k < 2; k++) {
			assert_check(list, cases[i].in[k], true);
			assert_check(list, cases[i].out[k], false);
		}
		net_block_list_free(list);
	}
}

static void ipv4_mapped_addresses_are_ipv4_addresses(void **state)
{
	assert_int_equal(net_block_list_add_address(*state, "192.0.2.7"), 0);
	assert_int_equal(net_block_list_add_range(*state, "10.0.0.1", "10.0.0.3"), 0);
	assert_int_equal(net_block_list_add_subnet(*state, "::ffff:172.16.0.0", 108), 0);
	assert_check(*state, "::ffff:192.0.2.7", true);
	assert_check(*state, "::ffff:10.0.0.2", true);
	assert_check(*state, "::ffff:10.0.0.4", false);
	assert_check(*state, "172.31.255.255", true);
	assert_check(*state, "172.32.0.0", false);
	assert_check(*state, "::192.0.2.7", false);
}

static void unix_socket_and_what_is_no_address_are_never_in(void **state)
{
	struct addr addr, none = {.len = 0};

	assert_int_equal(net_block_list_add_subnet(*state, "::", 0), 0);
	assert_int_equal(addr_unix("/run/x.sock", &addr), 0);
	assert_false(block_list_check_addr(*state, &addr));
	assert_false(block_list_check_addr(*state, &none));
	assert_false(net_block_list_check(*state, "localhost"));
	assert_false(net_block_list_check(*state, ""));
	assert_false(net_block_list_check(*state, NULL));
}

static void no_list_and_an_empty_one_hold_nothing(void **state)
{
	struct addr addr;

	assert_int_equal(addr_parse("::1", 0, &addr), 0);
	assert_false(block_list_check_addr(NULL, &addr));
	assert_check(*state, "::1", false);
	net_block_list_free(NULL);
}

static void collect(const char *rule, void *ctx)
{
	strcat(strcat(ctx, rule), "\n");
}

static void assert_rules(const struct net_block_list *list, const char *expected)
{
	char text[1024] = "";

	net_block_list_rules(list, collect, text);
	assert_string_equal(text, expected);
}

static void wrong_rules_are_refused_and_leave_the_list_as_it_was(void **state)
{
	struct net_block_list *list = *state;

	assert_int_equal(net_block_list_add_address(list, "x"), NET_ERR_INVALID_IP_ADDRESS);
	assert_int_equal(net_block_list_add_address(list, NULL), NET_ERR_INVALID_IP_ADDRESS);
	assert_int_equal(net_block_list_add_address(list, "1.2.3.04"), NET_ERR_INVALID_IP_ADDRESS);
	assert_int_equal(net_block_list_add_range(list, "::1", ""), NET_ERR_INVALID_IP_ADDRESS);
	assert_int_equal(net_block_list_add_range(list, "", "::1"), NET_ERR_INVALID_IP_ADDRESS);
	assert_int_equal(net_block_list_add_range(list, "::2", "::1"), NET_ERR_INVALID_ARG_VALUE);
	assert_int_equal(net_block_list_add_range(list, "::", "1.1.1.1"),
			 NET_ERR_INVALID_ARG_VALUE);
	assert_int_equal(net_block_list_add_subnet(list, "::/8", 8), NET_ERR_INVALID_IP_ADDRESS);
	assert_int_equal(net_block_list_add_subnet(list, "1.1.1.1", 33), NET_ERR_OUT_OF_RANGE);
	assert_int_equal(net_block_list_add_subnet(list, "::", 129), NET_ERR_OUT_OF_RANGE);
	assert_rules(list, "");
	assert_check(list, "::1", false);
	assert_check(list, "1.1.1.1", false);
}

static void rules_are_told_as_they_were_added(void **state)
{
	assert_int_equal(net_block_list_add_address(*state, "192.0.2.7"), 0);
	assert_int_equal(net_block_list_add_range(*state, "192.0.2.1", "192.0.2.9"), 0);
	assert_int_equal(net_block_list_add_subnet(*state, "10.1.2.3", 8), 0);
	assert_int_equal(net_block_list_add_address(*state, "::ffff:1.2.3.4"), 0);
	assert_int_equal(net_block_list_add_range(*state, "2001:DB8::1", "2001:db8::2"), 0);
	assert_int_equal(net_block_list_add_subnet(*state, "2001:db8::", 32), 0);
	assert_rules(*state, "Address: IPv4 192.0.2.7\n"
			     "Range: IPv4 192.0.2.1-192.0.2.9\n"
			     "Subnet: IPv4 10.1.2.3/8\n"
			     "Address: IPv6 ::ffff:1.2.3.4\n"
			     "Range: IPv6 2001:db8::1-2001:db8::2\n"
			     "Subnet: IPv6 2001:db8::/32\n");
}

static uint32_t next_random(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)*seed * below >> 32);
}

/* Ranges over 256 addresses, added in any order, nested, touching and apart, against a table. */
static void set_is_the_union_of_its_ranges(void **state)
{
	uint32_t seed = 8124;

	for (int round = 0; round < 100; round++) {
		bool expected[256] = {false};
		struct net_block_list *list;

		assert_int_equal(net_block_list_new(&list), 0);
		for (int i = 0; i < 20; i++) {
			unsigned first = next_random(&seed, 256);
			unsigned last = first + next_random(&seed, i < 10 ? 4 : 30);
			char from[16], to[16];

			last = last > 255 ? 255 : last;
			snprintf(from, sizeof(from), "192.0.2.%u", first);
			snprintf(to, sizeof(to), "192.0.2.%u", last);
			assert_int_equal(net_block_list_add_range(list, from, to), 0);
			memset(expected + first, true, last - first + 1);
		}
		for (unsigned i = 0; i < 256; i++) {
			char address[16];

			snprintf(address, sizeof(address), "192.0.2.%u", i);
			assert_check(list, address, expected[i]);
		}
		net_block_list_free(list);
	}
}

static void without_memory_the_list_is_as_it_was(void **state)
{
	struct net_block_list *none = NULL;

	for (int budget = 0; budget < 2; budget++) {
		memory_budget = budget;
		assert_int_equal(net_block_list_add_address(*state, "::1"), -ENOMEM);
		memory_budget = -1;
		assert_rules(*state, "");
		assert_check(*state, "::1", false);
	}
	memory_budget = 0;
	assert_int_equal(net_block_list_new(&none), -ENOMEM);
	memory_budget = -1;
	assert_null(none);
	assert_int_equal(net_block_list_add_address(*state, "::1"), 0);
	assert_check(*state, "::1", true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(address_is_in_and_its_neighbours_are_not),
		TEST(range_holds_both_its_ends),
		TEST(subnet_holds_what_shares_its_prefix),
		TEST(ipv4_mapped_addresses_are_ipv4_addresses),
		TEST(unix_socket_and_what_is_no_address_are_never_in),
		TEST(no_list_and_an_empty_one_hold_nothing),
		TEST(wrong_rules_are_refused_and_leave_the_list_as_it_was),
		TEST(rules_are_told_as_they_were_added),
		TEST(set_is_the_union_of_its_ranges),
		TEST(without_memory_the_list_is_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
