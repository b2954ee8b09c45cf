#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/addr.h"

static void assert_text(const struct addr *addr, const char *text)
{
	char found[ADDR_TEXT_SIZE];

	addr_format(addr, found, sizeof(found));
	assert_string_equal(found, text);
}

static void literals_are_read_and_written_back(void **state)
{
	struct addr addr;

	assert_int_equal(addr_parse("127.0.0.1", 80, &addr), 0);
	assert_text(&addr, "127.0.0.1:80");
	assert_int_equal(addr_parse("::1", 443, &addr), 0);
	assert_text(&addr, "[::1]:443");
	assert_int_equal(addr_parse("::ffff:1.2.3.4", 1, &addr), 0);
	assert_text(&addr, "[::ffff:1.2.3.4]:1");
}

static void a_zone_is_a_name_or_a_number(void **state)
{
	struct addr addr;

	assert_int_equal(addr_parse("fe80::1%lo", 80, &addr), 0);
	assert_int_equal(addr.in6.sin6_scope_id, 1);
	assert_text(&addr, "[fe80::1%lo]:80");
	assert_int_equal(addr_parse("fe80::1%4000000000", 80, &addr), 0);
	assert_text(&addr, "[fe80::1%4000000000]:80");
	assert_int_equal(addr_parse("fe80::1%nowhere", 80, &addr), -ENODEV);
	assert_int_equal(addr_parse("fe80::1%-1", 80, &addr), -ENODEV);
	assert_int_equal(addr_parse("fe80::1%99999999999", 80, &addr), -ENODEV);
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const wrong[] = {"",  "localhost", "1.2.3",     "1.2.3.4.5", "01.2.3.4",
					    ":", "1::2::3",   "256.1.1.1", " ::1",      "::1 "};
	char longest[400];
	struct addr addr;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(addr_parse(wrong[i], 1, &addr), -EINVAL);

	memset(longest, ':', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(addr_parse(longest, 1, &addr), -EINVAL);
}

static void unix_names_keep_their_last_byte(void **state)
{
	char path[109], abstract[109];
	struct addr addr;

	memset(path, 'p', sizeof(path));
	path[107] = '\0';
	assert_int_equal(addr_unix(path, &addr), 0);
	assert_text(&addr, path);

	memcpy(abstract, path, sizeof(abstract));
	abstract[0] = '@';
	assert_int_equal(addr_unix(abstract, &addr), 0);
	assert_true(addr_is_abstract(&addr));
	assert_text(&addr, abstract);
}

/* A longer one is refused, not cut to another name. */
static void unix_names_that_are_too_long_or_empty_are_refused(void **state)
{
	char path[109];
	struct addr addr;

	memset(path, 'p', sizeof(path));
	path[108] = '\0';
	assert_int_equal(addr_unix(path, &addr), -ENAMETOOLONG);
	path[0] = '@';
	assert_int_equal(addr_unix(path, &addr), -ENAMETOOLONG);
	assert_int_equal(addr_unix("", &addr), -EINVAL);
	assert_int_equal(addr_unix("@", &addr), -EINVAL);
}

static void a_socket_without_a_name_has_an_empty_text(void **state)
{
	struct net_address net;
	struct addr addr;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(addr_of_peer(pair[0], &addr), 0);
	assert_text(&addr, "");
	addr_to_net(&addr, &net);
	assert_int_equal(net.family, 0);
	assert_int_equal(net.port, 0);
	assert_string_equal(net.address, "");
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(addr_of_socket(pair[0], &addr), -EBADF);
}

static void a_client_without_an_address_is_a_process(void **state)
{
	struct ucred process;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	addr_peer_process(pair[0], &process);
	assert_int_equal(process.pid, getpid());
	assert_int_equal(process.uid, geteuid());
	assert_int_equal(process.gid, getegid());
	close(pair[0]);
	close(pair[1]);

	addr_peer_process(pair[0], &process);
	assert_int_equal(process.pid, 0);
	assert_int_equal(process.uid, (uid_t)-1);
	assert_int_equal(process.gid, (gid_t)-1);
}

static void equality_looks_at_every_part(void **state)
{
	static const char *const hosts[] = {"1.2.3.4", "1.2.3.5",    "::1",
					    "::2",     "fe80::1%lo", "fe80::1"};
	struct addr a, b;

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		for (size_t j = 0; j < ARRAY_LEN(hosts); j++) {
			assert_int_equal(addr_parse(hosts[i], 1, &a), 0);
			assert_int_equal(addr_parse(hosts[j], 1, &b), 0);
			assert_int_equal(addr_equal(&a, &b), i == j);
			addr_set_port(&b, 2);
			assert_false(addr_equal(&a, &b));
		}

	addr_unix("/a", &a);
	addr_unix("@a", &b);
	assert_false(addr_equal(&a, &b));
	addr_unix("/a", &b);
	assert_true(addr_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_are_read_and_written_back),
		cmocka_unit_test(a_zone_is_a_name_or_a_number),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(unix_names_keep_their_last_byte),
		cmocka_unit_test(unix_names_that_are_too_long_or_empty_are_refused),
		cmocka_unit_test(a_socket_without_a_name_has_an_empty_text),
		cmocka_unit_test(a_client_without_an_address_is_a_process),
		cmocka_unit_test(equality_looks_at_every_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
