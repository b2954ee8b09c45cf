#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/config_fixture.h"

#define TIME_LIMIT 60

/* --- values ----------------------------------------------------------------------------------- */

static void what_is_left_out_has_its_default(void **state)
{
	const struct config *config = config_parse_ok(*state, ONE_LISTENER);
	const struct config_listener *listener = &config->listeners[0];

	assert_int_equal(config->workers, 0);
	assert_null(config->user);
	assert_true(config->uid == (uid_t)-1 && config->gid == (gid_t)-1);
	assert_int_equal(config->start_timeout_ms, 10000);
	assert_int_equal(config->drain_timeout_ms, 30000);
	assert_int_equal(config->stop_timeout_ms, 5000);
	assert_false(config->has_allow);

	assert_int_equal(listener->kind, CONFIG_HOST_PORT);
	assert_null(listener->host);
	assert_int_equal(listener->backlog, 511); /* SL-3 */
	assert_false(listener->exclusive || listener->ipv6_only || listener->has_mode);
	assert_true(listener->uid == (uid_t)-1 && listener->gid == (gid_t)-1);
	assert_null(listener->handler_text);
}

static void settings_are_read(void **state)
{
	const struct config *config = config_parse_ok(*state, "workers: 1024\n"
							      "user: nobody\n"
							      "control: /run/other.sock\n"
							      "start_timeout: 500ms\n"
							      "drain_timeout: 24h\n"
							      "stop_timeout: 10m\n" ONE_LISTENER);

	assert_int_equal(config->workers, 1024);
	assert_string_equal(config->user, "nobody");
	assert_int_equal(config->uid, getpwnam("nobody")->pw_uid);
	assert_int_equal(config->gid, getpwnam("nobody")->pw_gid);
	assert_string_equal(config->control, "/run/other.sock");
	assert_int_equal(config->start_timeout_ms, 500);
	assert_int_equal(config->drain_timeout_ms, 24 * 3600 * 1000);
	assert_int_equal(config->stop_timeout_ms, 600 * 1000);
}

static void expect_allow(const struct config_allow *allow, enum config_allow_kind kind,
			 const char *text, int first, int last)
{
	assert_int_equal(allow->kind, kind);
	if (text)
		assert_string_equal(allow->text, text);
	else
		assert_null(allow->text);
	assert_int_equal(allow->first, first);
	assert_int_equal(allow->last, last);
}

static void each_kind_of_permission_to_listen_is_read(void **state)
{
	const struct config *config = config_parse_ok(
		*state, "allow_listen: [8080, 8000-8099, \"[::1]:80\", localhost:1-1023, "
			"/run/apps/, /, \"@app\"]\n" ONE_LISTENER);
	const struct config_allow *allow = config->allow;

	assert_true(config->has_allow);
	assert_int_equal(config->n_allow, 7);
	expect_allow(&allow[0], CONFIG_ALLOW_PORTS, NULL, 8080, 8080);
	expect_allow(&allow[1], CONFIG_ALLOW_PORTS, NULL, 8000, 8099);
	expect_allow(&allow[2], CONFIG_ALLOW_PORTS, "::1", 80, 80);
	expect_allow(&allow[3], CONFIG_ALLOW_PORTS, "localhost", 1, 1023);
	expect_allow(&allow[4], CONFIG_ALLOW_PATH, "/run/apps", 0, 0);
	expect_allow(&allow[5], CONFIG_ALLOW_PATH, "/", 0, 0);
	expect_allow(&allow[6], CONFIG_ALLOW_ABSTRACT, "@app", 0, 0);
}

static void an_empty_list_is_not_the_same_as_none(void **state)
{
	const struct config *config = config_parse_ok(*state, "allow_listen: []\n" ONE_LISTENER);

	assert_true(config->has_allow);
	assert_int_equal(config->n_allow, 0);
}

static void user_by_number_becomes_its_name(void **state)
{
	assert_string_equal(config_parse_ok(*state, "user: 0\n" ONE_LISTENER)->user, "root");
}

static void each_kind_of_address_is_read(void **state)
{
	const struct config_listener *listener;

	listener = config_parse_listener(*state,
					 "port: 65535, host: \"fe80::1%lo\", ipv6_only: true");
	assert_int_equal(listener->kind, CONFIG_HOST_PORT);
	assert_int_equal(listener->port, 65535);
	assert_string_equal(listener->host, "fe80::1%lo");
	assert_true(listener->ipv6_only);

	listener = config_parse_listener(*state, "path: /run/one.sock");
	assert_int_equal(listener->kind, CONFIG_PATH);
	assert_string_equal(listener->path, "/run/one.sock");

	listener = config_parse_listener(*state, "path: \"@one/two\"");
	assert_int_equal(listener->kind, CONFIG_ABSTRACT);
	assert_string_equal(listener->path, "one/two");

	listener = config_parse_listener(*state, "fd: 3");
	assert_int_equal(listener->kind, CONFIG_FD);
	assert_int_equal(listener->fd, 3);

	listener = config_parse_listener(*state, "systemd: web");
	assert_int_equal(listener->kind, CONFIG_SYSTEMD);
	assert_string_equal(listener->systemd_name, "web");
}

static void longest_socket_paths_are_accepted(void **state)
{
	char path[107 + 1], keys[160];

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	snprintf(keys, sizeof(keys), "path: \"@%s\"", path);
	assert_string_equal(config_parse_listener(*state, keys)->path, path);

	path[0] = '/';
	snprintf(keys, sizeof(keys), "path: %s", path);
	assert_string_equal(config_parse_listener(*state, keys)->path, path);
}

static void mode_is_octal_with_and_without_quotes(void **state)
{
	const struct config_listener *listener = config_parse_listener(
		*state, "path: /run/one.sock, mode: \"0660\"");

	assert_true(listener->has_mode);
	assert_int_equal(listener->mode, 0660);
	assert_int_equal(config_parse_listener(*state, "path: /run/one.sock, mode: 0777")->mode,
			 0777);
	assert_true(config_parse_listener(*state, "path: /run/one.sock, mode: 0000")->has_mode);
}

static void assert_owner(void **state, const char *owner, uid_t uid, gid_t gid)
{
	char keys[100];

	snprintf(keys, sizeof(keys), "path: /run/one.sock, owner: \"%s\"", owner);
	const struct config_listener *listener = config_parse_listener(*state, keys);
	assert_int_equal(listener->uid, uid);
	assert_int_equal(listener->gid, gid);
}

static void owner_is_a_user_a_group_or_both_by_name_or_number(void **state)
{
	assert_owner(state, "root", 0, (gid_t)-1);
	assert_owner(state, "root:root", 0, 0);
	assert_owner(state, ":root", (uid_t)-1, 0);
	assert_owner(state, "12345", 12345, (gid_t)-1);
	assert_owner(state, "12345:4294967294", 12345, 4294967294U);
	assert_owner(state, ":12345", (uid_t)-1, 12345);
}

static void handlers_are_read_with_their_text(void **state)
{
	const struct config *config = config_parse_ok(
		*state, "listeners:\n"
			"  - {name: a, port: 0, handler: echo}\n"
			"  - {name: b, port: 0, handler: discard}\n"
			"  - {name: c, port: 0, handler: {reply: \"a\\0b\\n\"}}\n"
			"  - {name: d, port: 0, handler: {reply: 42}}\n");
	const struct config_listener *listeners = config->listeners;

	assert_int_equal(listeners[0].handler, HANDLER_ECHO);
	assert_int_equal(listeners[1].handler, HANDLER_DISCARD);
	assert_int_equal(listeners[2].handler, HANDLER_REPLY);
	assert_int_equal(listeners[2].handler_text_size, 4);
	assert_memory_equal(listeners[2].handler_text, "a\0b\n", 5);
	assert_string_equal(listeners[3].handler_text, "42");
}

static void listener_knows_where_it_is_defined(void **state)
{
	const struct config *config = config_parse_ok(
		*state, "workers: 1\n\nlisteners:\n"
			"  - handler: echo\n    port: 0\n    name: a\n");
	const struct config_mark *mark = &config->listeners[0].mark;

	assert_string_equal(mark->file, "test.yaml");
	assert_int_equal(mark->line, 4);
	assert_int_equal(mark->column, 5);
}

/* --- addresses that do and do not exclude each other ------------------------------------------ */

static int parse_two(struct config_fixture *f, const char *first, const char *second)
{
	char *text = NULL;

	assert_true(asprintf(&text,
			     "listeners: [{name: a, handler: echo, %s},"
			     " {name: b, handler: echo, %s}]",
			     first, second) > 0);
	config_errors_done(&f->errors);
	config_free(f->config);
	f->config = NULL;
	int err = config_parse("two.yaml", text, strlen(text), &f->errors, &f->config);
	free(text);
	return err;
}

static void addresses_that_exclude_each_other_are_refused(void **state)
{
	static const char *const pairs[][2] = {
		{"port: 80", "port: 80"},
		{"port: 80", "port: 80, host: 0.0.0.0"},
		{"port: 80", "port: 80, host: \"::\", ipv6_only: true"},
		{"port: 80", "port: 80, host: \"::1\""},
		{"port: 80, host: 0.0.0.0", "port: 80, host: 127.0.0.1"},
		{"port: 80, host: 127.0.0.1", "port: 80, host: \"::ffff:127.0.0.1\""},
		{"port: 80, host: \"::\"", "port: 80, host: 127.0.0.1"},
		{"port: 80, host: LocalHost", "port: 80, host: localhost"},
		{"port: 80, host: \"fe80::1%lo\"", "port: 80, host: \"fe80:0::1%lo\""},
		{"path: \"@a\"", "path: \"@a\""},
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		assert_int_equal(parse_two(*state, pairs[i][0], pairs[i][1]), -EINVAL);
		assert_int_equal(parse_two(*state, pairs[i][1], pairs[i][0]), -EINVAL);
	}
}

static void addresses_that_go_together_are_accepted(void **state)
{
	static const char *const pairs[][2] = {
		{"port: 80", "port: 81"},
		{"port: 0", "port: 0"},
		{"port: 80, host: \"::\", ipv6_only: true", "port: 80, host: 0.0.0.0"},
		{"port: 80, ipv6_only: true", "port: 80, host: 127.0.0.1"},
		{"port: 80, host: 127.0.0.1", "port: 80, host: 127.0.0.2"},
		{"port: 80, host: 127.0.0.1", "port: 80, host: \"::1\""},
		{"port: 80, host: localhost", "port: 80, host: elsewhere"},
		{"port: 80, host: \"fe80::1%lo\"", "port: 80, host: \"fe80::1%eth0\""},
		{"path: /a", "path: \"@/a\""},
		{"fd: 3", "fd: 4"},
		{"systemd: a", "systemd: b"},
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		assert_int_equal(parse_two(*state, pairs[i][0], pairs[i][1]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONFIG_TEST(what_is_left_out_has_its_default),
		CONFIG_TEST(settings_are_read),
		CONFIG_TEST(each_kind_of_permission_to_listen_is_read),
		CONFIG_TEST(an_empty_list_is_not_the_same_as_none),
		CONFIG_TEST(user_by_number_becomes_its_name),
		CONFIG_TEST(each_kind_of_address_is_read),
		CONFIG_TEST(longest_socket_paths_are_accepted),
		CONFIG_TEST(mode_is_octal_with_and_without_quotes),
		CONFIG_TEST(owner_is_a_user_a_group_or_both_by_name_or_number),
		CONFIG_TEST(handlers_are_read_with_their_text),
		CONFIG_TEST(listener_knows_where_it_is_defined),
		CONFIG_TEST(addresses_that_exclude_each_other_are_refused),
		CONFIG_TEST(addresses_that_go_together_are_accepted),
	};

	alarm(TIME_LIMIT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
