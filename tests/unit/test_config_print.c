#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/config_fixture.h"

#define TIME_LIMIT 60
#define FEWEST     6 /* good files: the folder cannot become empty unnoticed */

static void assert_same_text(const char *a, const char *b)
{
	assert_int_equal(a != NULL, b != NULL);
	if (a)
		assert_string_equal(a, b);
}

static void assert_same_listener(const struct config_listener *a, const struct config_listener *b)
{
	assert_same_text(a->name, b->name);
	assert_int_equal(a->kind, b->kind);
	assert_same_text(a->host, b->host);
	assert_int_equal(a->port, b->port);
	assert_same_text(a->path, b->path);
	assert_int_equal(a->fd, b->fd);
	assert_same_text(a->systemd_name, b->systemd_name);
	assert_int_equal(a->backlog, b->backlog);
	assert_int_equal(a->exclusive, b->exclusive);
	assert_int_equal(a->distribute, b->distribute);
	assert_int_equal(a->hash_port, b->hash_port);
	assert_int_equal(a->max_connections, b->max_connections);
	assert_int_equal(a->max_connections_per_worker, b->max_connections_per_worker);
	assert_int_equal(a->overflow, b->overflow);
	assert_int_equal(a->ipv6_only, b->ipv6_only);
	assert_int_equal(a->has_mode, b->has_mode);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->handler, b->handler);
	assert_int_equal(a->handler_text_size, b->handler_text_size);
	if (a->handler_text)
		assert_memory_equal(a->handler_text, b->handler_text, a->handler_text_size);
}

static void assert_same(const struct config *a, const struct config *b)
{
	assert_int_equal(a->workers, b->workers);
	assert_same_text(a->user, b->user);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_same_text(a->control, b->control);
	assert_int_equal(a->start_timeout_ms, b->start_timeout_ms);
	assert_int_equal(a->drain_timeout_ms, b->drain_timeout_ms);
	assert_int_equal(a->stop_timeout_ms, b->stop_timeout_ms);
	assert_int_equal(a->has_allow, b->has_allow);
	assert_int_equal(a->n_allow, b->n_allow);
	for (size_t i = 0; i < a->n_allow; i++) {
		assert_int_equal(a->allow[i].kind, b->allow[i].kind);
		assert_int_equal(a->allow[i].first, b->allow[i].first);
		assert_int_equal(a->allow[i].last, b->allow[i].last);
		assert_same_text(a->allow[i].text, b->allow[i].text);
	}
	assert_int_equal(a->n_listeners, b->n_listeners);
	for (size_t i = 0; i < a->n_listeners; i++)
		assert_same_listener(&a->listeners[i], &b->listeners[i]);
}

static void assert_survives_printing(struct config_fixture *f)
{
	struct config *again = NULL;
	char *text = config_printed(f->config);

	int err = config_parse("printed.yaml", text, strlen(text), &f->errors, &again);
	if (err)
		config_errors_print(&f->errors, stderr);
	assert_int_equal(err, 0);
	assert_same(f->config, again);

	config_free(again);
	free(text);
}

static void every_good_file_loads_and_what_is_printed_loads_to_the_same_again(void **state)
{
	struct config_fixture *f = *state;
	glob_t files;

	assert_int_equal(fchdir(f->before), 0);
	assert_int_equal(glob("tests/config/good/*.yaml", 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= FEWEST);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		config_load_ok(f, files.gl_pathv[i]);
		assert_survives_printing(f);
	}
	globfree(&files);
}

static void any_text_survives_printing(void **state)
{
	config_parse_ok(*state, "listeners:\n"
				"- {name: \"null\", port: 0, handler: {reply: \"\\0\\a\\e "
				"\\\"\\\\'#: \\r\\n\\t\"}}\n"
				"- {name: \"2\", port: 0, handler: {reply: "
				"\"\\N\\_\\L\\P\\uFEFF\\uFFFE\\U0010FFFF\"}}\n"
				"- {name: \"1\", path: \"/a b/\\\"'#%\\u00fc\", handler: {reply: "
				"\" m\\xfcller \"}}\n"
				"- {name: \"-\", path: \"@ \", handler: {reply: \"null\"}}\n");
	assert_survives_printing(*state);
}

static void merged_files_survive_printing(void **state)
{
	mkdir("conf.d", 0700);
	config_put("usher.yaml", "workers: 1\ndrain_timeout: 0s\nuser: root\n" ONE_LISTENER);
	config_put("conf.d/1.yaml", "workers: auto\ndrain_timeout: 1001ms\n"
				    "listeners: [{name: two, fd: 7, handler: echo}]\n");
	config_load_ok(*state, "usher.yaml");
	assert_survives_printing(*state);
}

static void full_device_fails_printing(void **state)
{
	const struct config *config = config_parse_ok(*state, ONE_LISTENER);
	FILE *full = fopen("/dev/full", "we");

	assert_non_null(full);
	assert_int_equal(config_print(config, full), -EIO);
	fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONFIG_TEST(every_good_file_loads_and_what_is_printed_loads_to_the_same_again),
		CONFIG_TEST(any_text_survives_printing),
		CONFIG_TEST(merged_files_survive_printing),
		CONFIG_TEST(full_device_fails_printing),
	};

	alarm(TIME_LIMIT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
