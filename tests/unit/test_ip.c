#include "common/net/ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/net.h"

static const char *const v4[] = {
	"0.0.0.0", "127.0.0.1", "255.255.255.255", "1.2.3.4", "10.20.30.40", "192.168.100.99",
};

static const char *const v6[] = {
	"::",
	"::1",
	"1::",
	"fe80::1",
	"FE80::ABCD",
	"1:2:3:4:5:6:7:8",
	"1:2:3:4:5:6:7::",
	"::2:3:4:5:6:7:8",
	"1::3:4:5:6:7:8",
	"0001:0002:0003:0004:0005:0006:0007:0008",
	"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
	"::1.2.3.4",
	"::ffff:127.0.0.1",
	"64:ff9b::192.0.2.33",
	"1:2:3:4:5:6:1.2.3.4",
	"1::6:1.2.3.4",
	"fe80::1%eth0",
	"fe80::1%1",
	"::1%a-b.c:d",
	"::ffff:1.2.3.4%lo",
	"fe80::1%a-zone-that-is-longer-than-any-interface-name-could-be-on-this-system",
};

static const char *const neither[] = {
	"",
	" ",
	"localhost",
	"1",
	"1.2.3",
	"127.1",
	"1.2.3.4.5",
	"1.2.3.4.",
	".1.2.3.4",
	"1..2.3",
	"1.2.3.256",
	"1.2.3.1000",
	"1.2.3.4294967297",
	"01.2.3.4",
	"1.2.3.04",
	"1.2.3.00",
	"000.0.0.0",
	"0x7f.0.0.1",
	"1.2.3.-4",
	"1.2.3.+4",
	" 1.2.3.4",
	"1.2.3.4 ",
	"1.2.3.4\n",
	"1.2.3.4%eth0",
	"1.2.3.4/8",
	"1.2.3.4:80",
	":",
	":::",
	"1:::2",
	"1::2::3",
	":1",
	"1:",
	":1:2:3:4:5:6:7",
	"1:2:3:4:5:6:7:",
	"1:2:3:4:5:6:7",
	"1:2:3:4:5:6:7:8:9",
	"1:2:3:4:5:6:7:8::",
	"::1:2:3:4:5:6:7:8",
	"1:2:3:4::5:6:7:8",
	"12345::",
	"00001::",
	"g::",
	"::1 ",
	" ::1",
	"[::1]",
	"::1/64",
	"::1.2.3",
	"::1.2.3.4.5",
	"::1.2.3.256",
	"::01.2.3.4",
	"::1.2.3.04",
	"1.2.3.4::",
	"::1.2.3.4:5",
	"1:2:3:4:5:6:7:1.2.3.4",
	"1:2:3:4:5:1.2.3.4",
	"::%",
	"%eth0",
	"::1%eth0%eth1",
	"::1%eth 0",
	"::1%eth_0",
	"::1%eth/0",
	"::1%\xc3\xa4",
	"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
};

static void assert_all(const char *const *texts, size_t count, int family)
{
	for (size_t i = 0; i < count; i++) {
		if (net_is_ip(texts[i]) != family)
			fail_msg("\"%s\" is %d, not %d", texts[i], net_is_ip(texts[i]), family);
		assert_int_equal(net_is_ipv4(texts[i]), family == 4);
		assert_int_equal(net_is_ipv6(texts[i]), family == 6);
	}
}

/* AD-4 */
static void strict_dotted_quads_are_4(void **state)
{
	assert_all(v4, ARRAY_LEN(v4), 4);
}

/* AD-4 */
static void addresses_of_rfc_4291_with_a_zone_or_without_are_6(void **state)
{
	assert_all(v6, ARRAY_LEN(v6), 6);
}

/* AD-4 */
static void anything_else_is_0(void **state)
{
	assert_all(neither, ARRAY_LEN(neither), 0);
	assert_int_equal(net_is_ip(NULL), 0);
}

static void assert_bytes(const char *text, const char *expected)
{
	struct ip ip;

	assert_int_not_equal(ip_parse(text, &ip), 0);
	assert_memory_equal(ip.bytes, expected, sizeof(ip.bytes));
}

static void ipv4_is_read_as_its_mapped_address(void **state)
{
	static const char mapped[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\xfe\xff";

	assert_bytes("1.2.254.255", mapped);
	assert_bytes("::ffff:1.2.254.255", mapped);
	assert_bytes("::ffff:102:feff%eth0", mapped);
	assert_bytes("fe80::102%1", "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02");
}

static void result_is_set_on_success_only(void **state)
{
	struct ip ip, before;

	memset(&ip, 0x55, sizeof(ip));
	before = ip;
	for (size_t i = 0; i < ARRAY_LEN(neither); i++)
		assert_int_equal(ip_parse(neither[i], &ip), 0);
	assert_memory_equal(&ip, &before, sizeof(ip));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_dotted_quads_are_4),
		cmocka_unit_test(addresses_of_rfc_4291_with_a_zone_or_without_are_6),
		cmocka_unit_test(anything_else_is_0),
		cmocka_unit_test(ipv4_is_read_as_its_mapped_address),
		cmocka_unit_test(result_is_set_on_success_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
